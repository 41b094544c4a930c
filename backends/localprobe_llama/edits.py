"""Edits of rows of a residual in place: what terms of steering do, as the eval callback applies it.

Every row gets the same bits whatever the other rows of its pass are, because each dot product is over one row, and
everything else is element by element. Through quantised weights a difference in the last bit would grow: see
`localprobe_llama.stream`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypeAlias

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
    share: FloatArray
    """(1 or n, 1) float32."""
    low: FloatArray
    high: FloatArray
    how: Literal["remove", "share", "bound", "share and bound"]
    """What is left to compute: with `remove` the share is 1 and the target 0, with `bound` the share is 0."""

    @classmethod
    def along(cls, wanted: Coordinates) -> Move:
        share, low, high = (np.array([[value]], np.float32) for value in (wanted.share, wanted.low, wanted.high))
        return cls(np.ascontiguousarray(wanted.basis), wanted.target[None], share, low, high, _how(wanted))

    @property
    def kind(self) -> Hashable:
        return (Move, self.how, self.basis.tobytes())

    def __call__(self, hidden: FloatArray) -> None:
        # Between two layers their weights push all else out of the processor's caches, so that a decode step of a small
        # model feels every function called here.
        coordinates = np.vecdot(hidden[:, None], self.basis)  # (n, k)
        if self.how == "remove":
            hidden -= _along(coordinates, self.basis)
        else:
            hidden += _along(self._change(coordinates), self.basis)

    def _change(self, coordinates: FloatArray) -> FloatArray:
        if self.how == "bound":
            change = np.maximum(coordinates, self.low)
        else:
            change = self.target - coordinates
            change *= self.share
            if self.how == "share":
                return change
            change += coordinates
            np.maximum(change, self.low, out=change)
        np.minimum(change, self.high, out=change)
        change -= coordinates
        return change

    def of(self, rows: Rows) -> Move:
        if len(self.share) == 1:
            return self
        target, share, low, high = (own[rows] for own in (self.target, self.share, self.low, self.high))
        return Move(self.basis, target, share, low, high, self.how)

    def joined(self, others: Sequence[Move]) -> Move:
        own = [(move.target, move.share, move.low, move.high) for move in (self, *others)]
        target, share, low, high = (np.concatenate(arrays) for arrays in zip(*own, strict=True))
        return Move(self.basis, target, share, low, high, self.how)


def _how(wanted: Coordinates) -> Literal["remove", "share", "bound", "share and bound"]:
    if wanted.bounded:
        return "share and bound" if wanted.share else "bound"
    return "remove" if wanted.share == 1 and not wanted.target.any() else "share"


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


def _along(change: FloatArray, basis: FloatArray) -> FloatArray:
    """`change @ basis`, (n, width), direction by direction: in a matrix product the order of the sum over several
    depends on the number of rows."""
    if len(basis) == 1:
        one: FloatArray = change.dot(basis)
        return one
    total: FloatArray = change[:, :1] * basis[0]
    for number in range(1, len(basis)):
        total += change[:, number, None] * basis[number]
    return total


def _lengths(hidden: FloatArray) -> FloatArray:
    lengths: FloatArray = np.sqrt(np.vecdot(hidden, hidden))
    return lengths.reshape(-1, 1)
