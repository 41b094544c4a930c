"""The events of decoding: tokens, their scores one step later, and the end of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from localprobe.engine import FloatArray

Reason: TypeAlias = Literal["end", "stop", "length", "context", "stopped"]
"""Why a row ended: the model's own end token, a stop string, the token limit, a full context, or the user."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the answer was sampled."""

    row: int
    index: int
    """Index of the token in the answer, from 0."""
    id: int
    text: str
    """Text that it adds: empty within a character or a possible stop string."""
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    """The most likely tokens at its place, (id, log-probability), if they were asked for: the most likely first."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The watched projections (watches,) float32 of a token sampled earlier."""

    row: int
    index: int
    """The `index` of its `Token`."""
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Finished:
    """A row is done."""

    row: int
    reason: Reason
    text: str
    """Text that was still held back: the answer is the row's texts and this one, joined."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A row had to be given up, and its answer is incomplete. Only where rows join others; else it is raised."""

    row: int
    error: str
    """One line."""


@dataclass(frozen=True, slots=True)
class GateChange:
    """A condition of the steering holds from now on, or no longer."""

    row: int
    index: int
    """The first token of the answer whose own position it affects. The score that decided is of the token before."""
    gate: str
    """The condition in words: `calm > 2.31`, `outside thinking`."""
    open: bool
    score: float | None
    """None where no probe decides."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A probe fired: its score of a token is above the threshold of its alarm."""

    row: int
    index: int
    """The `index` of the `Token`."""
    probe: str
    score: float
    """Without what additions contribute directly."""
    threshold: float


def text_of(event: Event) -> str:
    """The text that an event adds to the answer; empty if it adds none."""
    return event.text if isinstance(event, Token | Finished) else ""


Event: TypeAlias = Token | Score | Finished | Failed | GateChange | Alert
