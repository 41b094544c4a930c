"""Moving the coordinates of residuals along directions: ablations and caps.

A coordinate is a sum of products, because a matrix product may be rounded (TF32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from localprobe import edits
from localprobe.engine import FloatArray


class Shift(Protocol):
    """A change of the coordinate along one direction of each row."""

    @property
    def direction(self) -> Tensor:
        """(rows or 1, 1, width) float32."""
        ...

    def to(self, hidden: Tensor, p: Tensor) -> Tensor:
        """The residual (rows, columns, width) with its coordinate p (rows, columns, 1) moved."""
        ...


@dataclass(frozen=True, slots=True)
class Pull:
    """`h + s (m - p) d`, as `h + p (-s d) + s m d`: both vectors are 0 for a row without an edit."""

    direction: Tensor
    away: Tensor
    """(rows, 1, width) float32: -s d."""
    offset: Tensor | None
    """(rows, 1, width) float32: s m d; None if it is 0 in all rows."""

    def to(self, hidden: Tensor, p: Tensor) -> Tensor:
        moved = torch.addcmul(hidden, p, self.away)
        return moved if self.offset is None else moved + self.offset


@dataclass(frozen=True, slots=True)
class Cap:
    """`h + (clip((1 - s) p + s m, low, high) - p) d`: exactly h where the coordinate stays."""

    direction: Tensor
    low: Tensor
    """(rows, 1, 1) float32, as `high`; infinite for a row without bounds."""
    high: Tensor
    pull: tuple[Tensor, Tensor] | None
    """s m and 1 - s, (rows, 1, 1) float32; None if s is 0 in all rows."""

    def to(self, hidden: Tensor, p: Tensor) -> Tensor:
        moved = p if self.pull is None else torch.addcmul(self.pull[0], p, self.pull[1])
        return torch.addcmul(hidden, moved.clamp(self.low, self.high) - p, self.direction)


@dataclass(frozen=True, slots=True)
class Shifts:
    """Changes along orthonormal directions, at some columns of each row."""

    shifts: Sequence[Shift]
    columns: Tensor | None
    """(rows, columns, 1) bool; None for all columns."""

    @classmethod
    def of(cls, planned: edits.Edits, device: torch.device) -> Shifts:
        """The edits of kind `coordinates`, on a device."""
        columns = None if planned.columns is None else torch.from_numpy(planned.columns).to(device, non_blocking=True)
        return cls([_shift(shift, device) for shift in planned.shifts()], columns)

    def to(self, hidden: Tensor) -> Tensor:
        """Edit a residual (rows, columns, width); float32 in, float32 out."""
        coordinates = [(hidden * shift.direction).sum(-1, keepdim=True) for shift in self.shifts]
        moved = hidden
        for shift, p in zip(self.shifts, coordinates, strict=True):
            moved = shift.to(moved, p)
        return moved if self.columns is None else torch.where(self.columns, moved, hidden)


def _shift(shift: edits.Shift, device: torch.device) -> Shift:
    def on(values: FloatArray) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    if shift.bounds is None:
        return Pull(on(shift.direction), on(shift.away), None if shift.offset is None else on(shift.offset))
    low, high = map(on, shift.bounds)
    return Cap(on(shift.direction), low, high, shift.pull and (on(shift.pull[0]), on(shift.pull[1])))
