"""What decoding tells, step by step: tokens, their scores one step later, and the end of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from localprobe.engine import FloatArray

Reason: TypeAlias = Literal["end", "stop", "length", "context", "stopped"]
"""Why a row ended: the model's own end token, a stop string, the most tokens asked for, a full context, or the user."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the answer was sampled."""

    row: int
    index: int
    """Its place in the answer, from 0."""
    id: int
    text: str
    """What it adds to the text: empty in the middle of a character or of a possible stop string."""
    logprob: float


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The watched projections of a token sampled before, (watches,) float32."""

    row: int
    index: int
    """The token's place in the answer, the `index` of its `Token`."""
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Finished:
    """A row is done."""

    row: int
    reason: Reason
    text: str
    """What was still held back; the row's texts and this one joined are its answer."""


Event: TypeAlias = Token | Score | Finished
