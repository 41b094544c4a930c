"""Edits of rows of a residual in place: what terms of steering do, as the eval callback applies it.

Every row gets the same bits whatever the other rows of its pass are, because each dot product is over one row, and
everything else is element by element. Through quantised weights a difference in the last bit would grow: see
`localprobe_llama.stream`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import Coordinates, FloatArray

Rows: TypeAlias = slice | NDArray[np.bool_]
_TINY = np.float32(1e-30)


class Change(Protocol):
    """An edit of n rows, with parameters for all of them (1 row of parameters) or for each (n rows)."""

    @property
    def kind(self) -> Hashable:
        """Equal for changes that can be joined."""
        ...

    def __call__(self, hidden: FloatArray) -> None:
        """Edit `hidden` (n, width) float32 in place."""
        ...

    def of(self, rows: Rows) -> Self:
        """The edit of some of its rows."""
        ...

    def joined(self, others: Sequence[Self]) -> Self:
        """This edit of one row, and those of the rows that follow, as one."""
        ...


Edit: TypeAlias = tuple[int, int, Change]
"""(first, last + 1, change): rows of a pass, and what is done to them."""


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """Adds, and with `keep_norm` restores the lengths of the rows."""

    deltas: FloatArray
    """(1 or n, width) float32."""
    keep_norm: bool = False

    @property
    def kind(self) -> Hashable:
        return (Addition, self.keep_norm)

    def __call__(self, hidden: FloatArray) -> None:
        if not self.keep_norm:
            hidden += self.deltas
            return
        before = _lengths(hidden)
        hidden += self.deltas
        hidden *= before / np.maximum(_lengths(hidden), _TINY)

    def of(self, rows: Rows) -> Addition:
        return self if len(self.deltas) == 1 else Addition(self.deltas[rows], self.keep_norm)

    def joined(self, others: Sequence[Addition]) -> Addition:
        return Addition(np.concatenate([self.deltas, *(other.deltas for other in others)]), self.keep_norm)


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """Moves coordinates along the rows of `basis`, as `localprobe.engine.Coordinates` says."""

    basis: FloatArray
    """(k, width) float32, the same for all rows."""
    target: FloatArray
    """(1 or n, k) float32."""
    limits: FloatArray
    """(1 or n, 3) float32: share, low, high."""
    bounded: bool

    @classmethod
    def along(cls, wanted: Coordinates) -> Move:
        limits = np.array([[wanted.share, wanted.low, wanted.high]], np.float32)
        return cls(np.ascontiguousarray(wanted.basis), wanted.target[None], limits, wanted.bounded)

    @property
    def kind(self) -> Hashable:
        return (Move, self.bounded, self.basis.tobytes())

    def __call__(self, hidden: FloatArray) -> None:
        coordinates = np.vecdot(hidden[:, None], self.basis)  # (n, k)
        change = self.target - coordinates
        change *= self.limits[:, :1]
        if self.bounded:
            change += coordinates
            np.clip(change, self.limits[:, 1:2], self.limits[:, 2:], out=change)
            change -= coordinates
        total = change[:, :1] * self.basis[0]
        for number in range(1, len(self.basis)):
            total += change[:, number, None] * self.basis[number]
        hidden += total

    def of(self, rows: Rows) -> Move:
        return self if len(self.limits) == 1 else Move(self.basis, self.target[rows], self.limits[rows], self.bounded)

    def joined(self, others: Sequence[Move]) -> Move:
        target = np.concatenate([self.target, *(other.target for other in others)])
        limits = np.concatenate([self.limits, *(other.limits for other in others)])
        return Move(self.basis, target, limits, self.bounded)


def apply(edits: Sequence[Edit], residual: FloatArray, first: int) -> None:
    """Edit rows [first, first + n) of a pass, `residual` (n, width), in place."""
    last = first + len(residual)
    for start, stop, change in edits:
        if first <= start and stop <= last:
            change(residual[start - first : stop - first])
        elif start < last and stop > first:
            inside = slice(max(first - start, 0), last - start)
            change.of(inside)(residual[max(start - first, 0) : stop - first])


def picked(edits: Sequence[Edit], rows: NDArray[np.bool_]) -> list[Edit]:
    """The edits of a pass of which only some rows (of all) are left, numbered by those that are."""
    place = np.concatenate([[0], np.cumsum(rows)]).tolist()
    return [
        (place[start], place[stop], change.of(rows[start:stop]))
        for start, stop, change in edits
        if place[start] < place[stop]
    ]


def _lengths(hidden: FloatArray) -> FloatArray:
    return np.sqrt(np.vecdot(hidden, hidden))[:, None]
