"""What the terms of the contract do to a residual stream, once for all engines.

`edited` is the reference in numpy. `plan` arranges the terms of a batch of rows for a pass as a few arrays per layer,
which an engine moves to its device and applies in order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import Coordinates, FloatArray, Span, Steering, Term

_TINY = np.float32(1e-30)
Move: TypeAlias = tuple[Span, Term]
"""A term, and the columns of a pass that it edits."""
Kind: TypeAlias = Literal["add", "keep-norm", "coordinates"]
_Rows: TypeAlias = Sequence[Sequence[Move]]


def edited(residual: FloatArray, term: Term) -> FloatArray:
    """The residuals (n, width) float32 after a term, whatever its span; the input is not changed."""
    if term.coordinates is not None:
        return residual + change(residual, term.coordinates) @ term.coordinates.basis
    return lengthened(residual, residual + term.delta) if term.keep_norm else residual + term.delta


def change(residual: FloatArray, wanted: Coordinates) -> FloatArray:
    """By how much the coordinates of residuals (n, width) move, (n, k) float32: exactly 0 where they stay."""
    coordinates = residual @ wanted.basis.T  # (n, k)
    moved = coordinates + np.float32(wanted.share) * (wanted.target - coordinates)
    return np.asarray(np.clip(moved, wanted.low, wanted.high) - coordinates, dtype=np.float32)


def lengthened(before: FloatArray, after: FloatArray) -> FloatArray:
    """`after` (n, width), rescaled to the lengths of `before`."""
    lengths = [np.linalg.norm(hidden, axis=-1, keepdims=True) for hidden in (before, after)]
    return np.asarray(after * (lengths[0] / np.maximum(lengths[1], _TINY)), dtype=np.float32)


def moves(steering: Steering, layer: int, start: int, length: int) -> list[Move]:
    """The terms at a layer that reach a pass over positions `start` to `start + length` of a row, in order, each with
    the columns (counted from `start`) that it edits.

    Additions that follow each other and cover the same columns are summed. Terms that do nothing are left out.
    """
    return _reaching([term for term in steering if term.layer == layer], start, length)


def clipped(term: Term, start: int, length: int) -> Span | None:
    """The columns of a pass, whose first position is `start`, that a term covers; None if it covers none."""
    first = max(term.start - start, 0)
    stop = length if term.stop is None else min(term.stop - start, length)
    return (first, stop) if first < stop else None


def _reaching(terms: Sequence[Term], start: int, length: int) -> list[Move]:
    """The moves of one layer's terms."""
    in_reach = [
        (columns, term)
        for term in terms
        if (term.operator == "add" or not term.idle) and (columns := clipped(term, start, length)) is not None
    ]
    if len(in_reach) > 1:
        runs = groupby(in_reach, key=lambda move: move[1].operator == "add")
        in_reach = [move for additive, run in runs for move in (_summed(run) if additive else run)]
    return [move for move in in_reach if not move[1].idle]  # last: additions are summed in the order of all of them


def _summed(run: Iterable[Move]) -> list[Move]:
    sums: dict[Span, Term] = {}
    for columns, term in run:
        if columns in sums:
            sums[columns] = replace(term, delta=sums[columns].delta + term.delta)
        else:
            sums[columns] = term
    return list(sums.items())


@dataclass(frozen=True, slots=True, eq=False)
class Edits:
    """Edits of one kind at one layer, at most one per row, that can be made at once."""

    kind: Kind
    columns: NDArray[np.bool_] | None
    """(rows, columns, 1): where they apply; None for every column of every row that is not padding."""
    deltas: FloatArray | None = None
    """`add` and `keep-norm`: (rows, 1, width) float32, zeros for a row without an edit."""
    basis: FloatArray | None = None
    """`coordinates`: (rows, k, width) float32, or (1, k, width) if all rows share it; zeros for a row without an edit
    and where rows have fewer directions than others."""
    target: FloatArray | None = None
    """(rows, 1, k) float32."""
    share: FloatArray | None = None
    """(rows, 1, 1) float32; 0 for a row without an edit."""
    low: FloatArray | None = None
    """(rows, 1, 1) float32; None if no row has bounds."""
    high: FloatArray | None = None

    def shifts(self) -> list[Shift]:
        """`coordinates`: the changes along each direction, which do not touch each other."""
        assert self.basis is not None and self.target is not None and self.share is not None
        count, bounds = self.basis.shape[1], None if self.low is None or self.high is None else (self.low, self.high)
        pairs = zip(np.split(self.basis, count, axis=1), np.split(self.target, count, axis=2), strict=True)
        return [Shift.of(direction, target, self.share, bounds) for direction, target in pairs]


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """The change of the coordinate p along one direction d of each row, in numbers that an engine applies: without
    bounds `h + p away + offset`, with them `h + (clip(q, low, high) - p) d`, where q is `pull[0] + pull[1] p`."""

    direction: FloatArray
    """(rows or 1, 1, width) float32: d; zeros for a row without an edit that shares no basis."""
    away: FloatArray
    """(rows, 1, width) float32: -s d."""
    offset: FloatArray | None
    """(rows, 1, width) float32: s m d; None if it is 0 in all rows."""
    bounds: tuple[FloatArray, FloatArray] | None
    """low and high, (rows, 1, 1) float32, infinite for a row without bounds; None if no row has any."""
    pull: tuple[FloatArray, FloatArray] | None
    """s m and 1 - s, (rows, 1, 1) float32; None if s is 0 in all rows, where q is p."""

    @classmethod
    def of(
        cls, direction: FloatArray, target: FloatArray, share: FloatArray, bounds: tuple[FloatArray, FloatArray] | None
    ) -> Shift:
        """Of a direction (rows or 1, 1, width) to a target (rows, 1, 1) by a share (rows, 1, 1)."""
        offset = share * target * direction
        return cls(
            np.ascontiguousarray(direction),
            -share * direction,
            offset if offset.any() else None,
            bounds,
            (share * target, 1 - share) if share.any() else None,
        )


def plan(rows: Sequence[Steering], starts: Sequence[int], lengths: Sequence[int]) -> dict[int, tuple[Edits, ...]]:
    """The edits of one pass by layer, in the order in which they are to be made.

    Row r of the pass holds positions `starts[r]` to `starts[r] + lengths[r]`, from column 0 on; the rest is padding,
    for which steering does not matter. Layers at which all rows do the same with the same arrays share their edits.
    """
    layers: dict[int, list[list[Term]]] = {}
    for row, steering in enumerate(rows):
        for term in steering:
            layers.setdefault(term.layer, [[] for _ in rows])[row].append(term)
    made: dict[Hashable, tuple[_Rows, tuple[Edits, ...]]] = {}  # with the moves, whose ids are in the key
    planned = {}
    for layer, terms in sorted(layers.items()):
        moving = [_reaching(*row) for row in zip(terms, starts, lengths, strict=True)]
        if any(moving):
            key = tuple(tuple(map(_identity, own)) for own in moving)
            if key not in made:
                made[key] = moving, tuple(_stacked(moving, lengths))
            planned[layer] = made[key][1]
    return planned


def _identity(move: Move) -> Hashable:
    """Equal for moves that do the same with the same arrays: a term is often repeated at every layer."""
    columns, term = move
    if term.coordinates is None:
        return (columns, term.operator, id(term.delta))
    wanted = term.coordinates
    return (columns, id(wanted.basis), wanted.target.tobytes(), wanted.share, wanted.low, wanted.high)


def _stacked(rows: _Rows, lengths: Sequence[int]) -> Iterable[Edits]:
    """The n-th moves of all rows, then the next ones: rows do not influence each other, so only a row's own order
    matters."""
    for number in range(max(map(len, rows))):
        alike: dict[Kind, dict[int, Move]] = {}
        for row, own in enumerate(rows):
            if len(own) > number:
                alike.setdefault(_kind(own[number][1]), {})[row] = own[number]
        for kind, picked in alike.items():
            make = _coordinates if kind == "coordinates" else _deltas
            yield make(picked, len(rows), _columns(picked, lengths))


def _kind(term: Term) -> Kind:
    if term.coordinates is not None:
        return "coordinates"
    return "keep-norm" if term.keep_norm else "add"


def _columns(picked: dict[int, Move], lengths: Sequence[int]) -> NDArray[np.bool_] | None:
    if all(columns == (0, lengths[row]) for row, (columns, _) in picked.items()):
        return None
    mask = np.zeros((len(lengths), max(lengths), 1), dtype=np.bool_)
    for row, ((first, stop), _) in picked.items():
        mask[row, first:stop] = True
    return mask


def _deltas(picked: dict[int, Move], rows: int, columns: NDArray[np.bool_] | None) -> Edits:
    _, first = next(iter(picked.values()))
    deltas = np.zeros((rows, 1, len(first.delta)), dtype=np.float32)
    for row, (_, term) in picked.items():
        deltas[row, 0] = term.delta
    return Edits(_kind(first), columns, deltas=deltas)


def _coordinates(picked: dict[int, Move], rows: int, columns: NDArray[np.bool_] | None) -> Edits:
    wanted = {row: term.coordinates for row, (_, term) in picked.items() if term.coordinates is not None}
    bases = [own.basis for own in wanted.values()]
    shared = all(basis is bases[0] or np.array_equal(basis, bases[0]) for basis in bases[1:])
    most, width = max(map(len, bases)), bases[0].shape[1]
    basis = bases[0][None] if shared else np.zeros((rows, most, width), dtype=np.float32)
    target = np.zeros((rows, 1, most), dtype=np.float32)
    share = np.zeros((rows, 1, 1), dtype=np.float32)
    low, high = np.full_like(share, -np.inf), np.full_like(share, np.inf)
    for row, own in wanted.items():
        if not shared:
            basis[row, : len(own.basis)] = own.basis
        target[row, 0, : len(own.target)] = own.target
        share[row], low[row], high[row] = own.share, own.low, own.high
    bounded = any(own.bounded for own in wanted.values())
    bounds = {"low": low, "high": high} if bounded else {}
    return Edits("coordinates", columns, basis=basis, target=target, share=share, **bounds)
