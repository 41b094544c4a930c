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


Event: TypeAlias = Token | Score | Finished
