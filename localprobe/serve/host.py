"""The models of a server: loaded in children in the background, loaded again after a crash, unloaded to make room."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from localprobe.engines.loading import Loader, end
from localprobe.engines.spec import ModelSpec
from localprobe.errors import Cancelled, UsageError, first_line
from localprobe.model import Model
from localprobe.serve.errors import ApiError, api_error

if TYPE_CHECKING:
    from localprobe.engine import Engine, Info
    from localprobe.scheduling.job import Limits
    from localprobe.scheduling.scheduler import Scheduler

T = TypeVar("T")
State: TypeAlias = Literal["unloaded", "loading", "ready", "failed"]
Load: TypeAlias = Callable[["Slot"], "Engine"]

_LOOK = 0.25  # seconds between two looks at whether an engine still lives
_SOON = 5  # seconds after which a request may come again
_TRIES = 5  # crashes in a row until a model is given up
_STEADY = 60.0  # seconds that an engine lives until its next crash is a first one
_WAITS = (0.0, 1.0, 5.0, 15.0, 30.0)  # seconds before a reload, by crashes in a row


class Hosted:
    """A loaded model, and the scheduler that all of its work goes through."""

    def __init__(self, spec: ModelSpec, engine: Engine, limits: Limits) -> None:
        from localprobe.scheduling.scheduler import Scheduler

        self.spec = spec
        self.model = Model(engine)
        """To be used on the scheduler's thread only; see `run`."""
        self.scheduler: Scheduler = Scheduler(engine, limits)
        self.created = int(time.time())
        """When it was loaded, in seconds since 1970."""
        self.used = time.monotonic()

    @property
    def name(self) -> str:
        """What the API calls it."""
        return self.info.model

    @property
    def info(self) -> Info:
        return self.model.info

    @property
    def idle(self) -> bool:
        """Whether it answers nothing now."""
        stats = self.scheduler.stats
        return not stats.rows and not stats.waiting

    @property
    def dead(self) -> Exception | None:
        """Why its engine cannot answer any more; None if it can."""
        return self.scheduler.broken or _ended(self.model.engine)

    async def run(self, work: Callable[[Model], T]) -> T:
        """Other work with the model, between two steps of the answers. Raises ApiError."""
        try:
            return await asyncio.wrap_future(self.scheduler.call(lambda: work(self.model)))
        except Exception as error:
            raise api_error(error) from error

    def close(self, grace: float = 0.0) -> None:
        """Let running answers go on for `grace` seconds, then end the engine."""
        self.scheduler.close(grace)
        end(self.model.engine)


@dataclass(slots=True, eq=False)
class Slot:
    """A model that the server knows, loaded or not."""

    spec: ModelSpec
    state: State = "unloaded"
    doing: str = ""
    """The stage of its load, for a user."""
    error: str = ""
    """Why it failed, or why it is loaded again."""
    hosted: Hosted | None = None
    crashes: int = 0
    """In a row."""
    loader: Loader | None = None
    leaving: bool = False
    changed: threading.Event = field(default_factory=threading.Event)
    """Set when a load has ended, well or not."""

    def goes_by(self, name: str) -> bool:
        """Whether the API calls it so."""
        return name == self.spec.name or (self.hosted is not None and name == self.hosted.name)


class Host:
    """The models of a server, and its default steering. Its methods may be called from any thread."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        limits: Limits,
        *,
        resident: int = 1,
        load_on_request: bool = False,
        load: Load | None = None,
    ) -> None:
        """Of `specs`, the first `resident` are loaded by `start`. `load` gives the engine of a model; by default it is
        started in a child and checked."""
        self.default = ""
        """The steering of requests that name none; an expression, or empty."""
        self._limits, self._resident, self._load_on_request = limits, resident, load_on_request
        self._load = load or load_in_child
        self._slots = [Slot(spec) for spec in specs]
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to load, in the background."""
        with self._lock:
            for slot in self._slots[: self._resident]:
                self._begin(slot)
        threading.Thread(target=self._watch, name="localprobe watch", daemon=True).start()
