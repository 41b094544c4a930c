"""A model that a server knows, and what answers once it is loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

from localprobe.engines.loading import end
from localprobe.errors import LocalprobeError
from localprobe.model import Model
from localprobe.serve.errors import api_error

if TYPE_CHECKING:
    from localprobe.engine import Engine, Info
    from localprobe.engines.loading import Loader
    from localprobe.engines.spec import ModelSpec
    from localprobe.scheduling.job import Limits
    from localprobe.scheduling.scheduler import Scheduler
    from localprobe.serve.resolve import Wanted
    from localprobe.serve.types import Applied

T = TypeVar("T")
State: TypeAlias = Literal["unloaded", "loading", "ready", "failed"]


class Turnable(Protocol):
    """An answer whose steering may change while it is generated; `localprobe.serve.generate.Answering`."""

    name: str

    async def turn(self, wanted: Wanted) -> tuple[int, Applied]: ...


class Hosted:
    """A loaded model, and the scheduler that all of its work goes through."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        """Raises UsageError for an engine that requests cannot join."""
        from localprobe.scheduling.scheduler import Scheduler

        self.model = Model(engine)
        """To be used on the scheduler's thread only; see `run`."""
        self.scheduler: Scheduler = Scheduler(engine, limits)
        self.created = int(time.time())
        """When it was loaded, in seconds since 1970."""
        self.began = self.used = time.monotonic()
        """When it was loaded, and asked for last."""
        self.answering: dict[str, Turnable] = {}
        """Requests that are being answered, by the ids of their answers."""
        self._users = 0

    @property
    def name(self) -> str:
        """What the API calls it."""
        return self.info.model

    @property
    def info(self) -> Info:
        return self.model.info

    @property
    def idle(self) -> bool:
        """Whether nobody waits for it now."""
        return not self._users

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """It is not idle during the block. To be used on the event loop."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    @property
    def dead(self) -> Exception | None:
        """Why its engine cannot answer any more; None if it can."""
        engine = self.model.engine
        if not self.scheduler.broken and not getattr(engine, "alive", True):
            with suppress(LocalprobeError):
                self.scheduler.call(lambda: engine.encode("a"))  # tells the scheduler, whose answers then fail of it
        return self.scheduler.broken

    async def run(self, work: Callable[[Model], T]) -> T:
        """Other work with the model, between two steps of the answers. Raises ApiError."""
        with self.in_use():
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
    """A model that a server knows, loaded or not. `Host` changes it under its lock."""

    spec: ModelSpec
    state: State = "unloaded"
    doing: str = ""
    """The stage of its load, for a user."""
    error: str = ""
    """Why it failed, or why it is being loaded again."""
    hosted: Hosted | None = None
    """While it is ready."""
    crashes: int = 0
    """In a row."""
    loader: Loader | None = None
    reloads: int = 0
    """How often it was loaded again after its engine failed."""
    loads: int = 0
    """Counts its loads, so that one that was given up is told from the next."""
    asked: bool = False
    """Whether a client named it: it is forgotten if it cannot be loaded."""
    instead: Slot | None = None
    """Whose place it took; loaded again if this one fails."""

    @property
    def name(self) -> str:
        """What the API calls it."""
        return self.hosted.name if self.hosted else self.spec.name

    def goes_by(self, name: str) -> bool:
        """Whether a request that names a model so means it."""
        return name in (self.spec.name, self.name)
