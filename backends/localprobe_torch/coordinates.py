"""Moving the coordinates of residuals along directions: ablations and caps.

A coordinate is a sum of products, because a matrix product may be rounded (TF32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from localprobe.edits import Edits
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
    def of(cls, edits: Edits, device: torch.device) -> Shifts:
        """The edits of kind `coordinates`, on a device."""
        assert edits.basis is not None and edits.target is not None
        columns = None if edits.columns is None else torch.from_numpy(edits.columns).to(device, non_blocking=True)
        count = edits.basis.shape[1]
        pairs = zip(np.split(edits.basis, count, axis=1), np.split(edits.target, count, axis=2), strict=True)
        return cls([_shift(edits, *pair, device) for pair in pairs], columns)

    def to(self, hidden: Tensor) -> Tensor:
        """Edit a residual (rows, columns, width); float32 in, float32 out."""
        coordinates = [(hidden * shift.direction).sum(-1, keepdim=True) for shift in self.shifts]
        moved = hidden
        for shift, p in zip(self.shifts, coordinates, strict=True):
            moved = shift.to(moved, p)
        return moved if self.columns is None else torch.where(self.columns, moved, hidden)


def _shift(edits: Edits, direction: FloatArray, target: FloatArray, device: torch.device) -> Shift:
    """The change along one direction (rows or 1, 1, width) to a target (rows, 1, 1)."""

    def on(values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)

    assert edits.share is not None
    if edits.low is None or edits.high is None:
        offset = edits.share * target * direction
        return Pull(on(direction), on(-edits.share * direction), on(offset) if offset.any() else None)
    pull = (on(edits.share * target), on(1 - edits.share)) if edits.share.any() else None
    return Cap(on(direction), on(edits.low), on(edits.high), pull)
