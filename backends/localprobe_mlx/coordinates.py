"""Moving the coordinates of residuals along directions: ablations and caps.

A coordinate is a sum of products, because a matrix product may be rounded (TF32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx

from localprobe import edits


class Shift(Protocol):
    """A change of the coordinate along one direction of each row."""

    @property
    def direction(self) -> mx.array:
        """(rows or 1, 1, width) float32."""
        ...

    def to(self, hidden: mx.array, p: mx.array) -> mx.array:
        """The residual (rows, length, width) with its coordinate p (rows, length, 1) moved."""
        ...


@dataclass(frozen=True, slots=True)
class Pull:
    """`h + s (m - p) d`, as `h + p (-s d) + s m d`: both vectors are 0 for a row without an edit."""

    direction: mx.array
    away: mx.array
    """(rows, 1, width) float32: -s d."""
    offset: mx.array | None
    """(rows, 1, width) float32: s m d; None if it is 0 in all rows."""

    def to(self, hidden: mx.array, p: mx.array) -> mx.array:
        moved = hidden + p * self.away
        return moved if self.offset is None else moved + self.offset


@dataclass(frozen=True, slots=True)
class Cap:
    """`h + (clip((1 - s) p + s m, low, high) - p) d`: exactly h where the coordinate stays."""

    direction: mx.array
    low: mx.array
    """(rows, 1, 1) float32, as `high`; infinite for a row without bounds."""
    high: mx.array
    pull: tuple[mx.array, mx.array] | None
    """s m and 1 - s, (rows, 1, 1) float32; None if s is 0 in all rows."""

    def to(self, hidden: mx.array, p: mx.array) -> mx.array:
        moved = p if self.pull is None else self.pull[0] + self.pull[1] * p
        return hidden + (mx.clip(moved, self.low, self.high) - p) * self.direction


@dataclass(frozen=True, slots=True)
class Shifts:
    """Changes along orthonormal directions, at some columns of each row."""

    shifts: Sequence[Shift]
    cover: mx.array | None
    """(rows, length, 1) bool; None for all columns."""

    @classmethod
    def of(cls, planned: edits.Edits) -> Shifts:
        """The edits of kind `coordinates`, on the device."""
        columns = None if planned.columns is None else mx.array(planned.columns)
        return cls([_shift(shift) for shift in planned.shifts()], columns)

    def to(self, hidden: mx.array) -> mx.array:
        """Edit a residual (rows, length, width); float32 in, float32 out."""
        coordinates = [(hidden * shift.direction).sum(axis=-1, keepdims=True) for shift in self.shifts]
        moved = hidden
        for shift, p in zip(self.shifts, coordinates, strict=True):
            moved = shift.to(moved, p)
        return moved if self.cover is None else mx.where(self.cover, moved, hidden)


def _shift(shift: edits.Shift) -> Shift:
    if shift.bounds is None:
        offset = None if shift.offset is None else mx.array(shift.offset)
        return Pull(mx.array(shift.direction), mx.array(shift.away), offset)
    low, high = map(mx.array, shift.bounds)
    pull = shift.pull and (mx.array(shift.pull[0]), mx.array(shift.pull[1]))
    return Cap(mx.array(shift.direction), low, high, pull)
