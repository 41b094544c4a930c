"""What is asked of the scheduler, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from localprobe.engine import Watch
from localprobe.generation.events import Event
from localprobe.generation.request import Request
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
