"""What is asked of the scheduler, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localprobe.engine import Steering, Watch
from localprobe.generation.events import Event
from localprobe.generation.request import Request, Row
from localprobe.steering.gates import Alarm


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One answer to generate, by what its tokens are scored, and what is watched for."""

    request: Request
    watch: tuple[Watch, ...] = ()
    """The projections of its `Score` events, in this order."""
    alarms: tuple[Alarm, ...] = ()


class Listener(Protocol):
    """Who waits for the answers of a job. Called on the scheduler's thread, and must return at once."""

    def events(self, events: Sequence[Event]) -> None:
        """The events of one step; `row` is the index of the answer in the job. The job is over once every answer is
        `Finished`."""
        ...

    def failed(self, error: Exception) -> None:
        """The job is over, because of `error`: it could not be prepared, it does not fit into memory, its deadline
        passed (TimeoutError) or the engine failed."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a scheduler takes on."""

    rows: int = 16
    """The most answers that are decoded at a time."""
    tokens: int = 0
    """The most positions of all answers and held prefixes together. 0 takes 1024 per answer, at least one full context,
    and less where memory is short."""
    waiting: int = 256
    """The most jobs that wait; `submit` raises QueueFull for one more."""
    piece: int = 256
    """Prompt tokens that are run between two steps of the answers."""
    prefixes: int = 8
    """The most prefixes that are held for later prompts. 0 holds none."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the scheduler began, and its state now."""

    rows: int = 0
    """Answers being decoded."""
    waiting: int = 0
    """Jobs that have not begun."""
    held: int = 0
    """Prefixes held."""
    answers: int = 0
    """Answers finished."""
    tokens: int = 0
    """Tokens generated."""
    prompt_tokens: int = 0
    """Tokens of the prompts that were admitted."""
    reused_tokens: int = 0
    """Those of them that were in the cache."""
    steps: int = 0
    rows_stepped: int = 0
    """Sum of the rows over all steps: by `steps`, the mean width of a batch."""
    steered_rows: int = 0
    """Of those, the rows that were steered."""
    gates: int = 0
    """Gates that opened or closed."""
    alerts: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(slots=True, eq=False)
class Group:
    """Answers of a job that begin alike, on their way in."""

    rows: Sequence[Row]
    held: int | None = None
    """Held positions that it begins with."""
    keep: int = 0
    """How many they are."""
    own: bool = False
    """Whether they are its own, to be freed once it has joined."""
    reused: int = 0
    """Positions that were in the cache when it began."""
    stream: int = 0
    """The stream that holds them; 0 before it has begun."""
    again: bool = False
    """Whether an earlier group of its job has the same prompt, which is counted once."""

    @property
    def request(self) -> Request:
        """The first of its requests; the others have the same prompt."""
        return self.rows[0].request

    @property
    def steering(self) -> Steering:
        """The terms that act on the prompt."""
        return self.rows[0].steering

    @property
    def rest(self) -> int:
        """Tokens of the prompt that must be run."""
        return len(self.request.ids) - self.keep

    @property
    def room(self) -> int:
        """The most tokens that one of the answers may have."""
        return max(row.limit for row in self.rows)


class Commands(Protocol):
    """What can be done to a job, on the scheduler's thread."""

    def cancel(self, job: Job) -> None: ...

    def stop(self, job: Job) -> None: ...

    def steer(self, job: Job, steering: Steering) -> None: ...


@dataclass(eq=False)
class Job:
    """Answers that were asked for together. `cancel`, `stop` and `steer` may be called from any thread, and take effect
    before the next step; on a job that is over they do nothing."""

    prepare: Callable[[], Sequence[Prepared]]
    listener: Listener
    deadline: float | None
    """By `time.monotonic`."""
    _post: Callable[[Callable[[], object]], None] = field(repr=False)
    _commands: Commands = field(repr=False)
    reused: int = 0
    """Positions of its prompts that were in the cache."""
    first: int = 0
    """The number of its first row in the batch."""
    unfinished: set[int] = field(default_factory=set)
    """Numbers of its rows that have not ended."""
    groups: list[Group] = field(default_factory=list)
    """Its answers that have not joined."""
    waits: bool = True
    """Whether none of its rows has joined."""
    over: bool = False

    def cancel(self) -> None:
        """End it now; no event follows."""
        self._post(lambda: self._commands.cancel(self))

    def stop(self) -> None:
        """End its answers, keeping their text: they are `Finished` with reason `stopped`. If some have not begun, the
        job fails with Cancelled."""
        self._post(lambda: self._commands.stop(self))

    def steer(self, steering: Steering) -> None:
        """Change the steering of its answers for every position not yet run."""
        self._post(lambda: self._commands.steer(self, steering))

    def fail(self, error: Exception) -> None:
        """Tell its listener that it is over."""
        if not self.over:
            self.over = True
            self.listener.failed(error)

    def late(self, now: float) -> bool:
        """Whether its deadline has passed."""
        return self.deadline is not None and now > self.deadline
