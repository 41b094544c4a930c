"""Turning the terms of a batch of rows into edits of the residuals of a pass, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import mlx.core as mx

from localprobe import edits
from localprobe.engine import Span, Steering
from localprobe_mlx.coordinates import Shifts

_TINY = 1e-30


class Edit(Protocol):
    """An edit of residuals at one layer, for all rows of a pass."""

    def to(self, hidden: mx.array) -> mx.array:
        """Edit a residual (rows, length, width); float32 in, float32 out."""
        ...


@dataclass(frozen=True, slots=True)
class Addition:
    """At most one delta per row. Overlapping terms of a row give several additions."""

    delta: mx.array
    """(rows, 1, width) float32; zeros for a row that is not steered."""
    cover: mx.array | None
    """(rows, length, 1) bool: positions that it applies to; None for all."""

    def to(self, hidden: mx.array) -> mx.array:
        return hidden + (self.delta if self.cover is None else mx.where(self.cover, self.delta, 0.0))


@dataclass(frozen=True, slots=True)
class Turn:
    """An addition that keeps the length of the residual. Where the delta is 0, both lengths are the same number."""

    addition: Addition

    def to(self, hidden: mx.array) -> mx.array:
        added = self.addition.to(hidden)
        before, after = (mx.sqrt(mx.square(state).sum(axis=-1, keepdims=True)) for state in (hidden, added))
        return added * (before / mx.maximum(after, _TINY))


LayerEdits: TypeAlias = tuple[Edit, ...]
Covers: TypeAlias = tuple[tuple[Span | None, ...], ...]
"""For each row and term: the span that it covers, counted from the first position of the pass."""


def steer(hidden: mx.array, layer: LayerEdits) -> mx.array:
    """A residual (rows, length, width), edited in float32 and rounded once to the dtype of `hidden`."""
    steered = hidden.astype(mx.float32)
    for edit in layer:
        steered = edit.to(steered)
    return steered.astype(hidden.dtype)


class Steerings:
    """The terms of each row, and their edits for the positions of a pass.

    Edits are cached for the next pass: while decoding, covers change only where a span begins or ends.
    """

    def __init__(self, rows: Sequence[Steering]) -> None:
        self.rows = list(rows)
        self._made: tuple[Covers, int, dict[int, LayerEdits]] | None = None

    def replace(self, row: int, steering: Steering) -> None:
        self.rows[row] = steering
        self._made = None

    def take(self, rows: Sequence[int]) -> Steerings:
        """The steerings of some rows."""
        return Steerings([self.rows[row] for row in rows])

    def joined(self, rows: Sequence[Steering]) -> Steerings:
        """With the steerings of more rows."""
        return Steerings([*self.rows, *rows])

    def at(self, starts: Sequence[int], length: int) -> dict[int, LayerEdits]:
        """Edits by layer, for a pass over positions `starts[row] .. starts[row] + length` of each row."""
        covers = tuple(
            tuple(edits.clipped(term, start, length) for term in steering)
            for steering, start in zip(self.rows, starts, strict=True)
        )
        if self._made is None or self._made[:2] != (covers, length):
            self._made = (covers, length, _on_device(edits.plan(self.rows, starts, [length] * len(self.rows))))
        return self._made[2]


def _on_device(planned: dict[int, tuple[edits.Edits, ...]]) -> dict[int, LayerEdits]:
    """Layers that are edited alike share their arrays."""
    made = {id(own): tuple(map(_edit, own)) for own in {id(own): own for own in planned.values()}.values()}
    return {layer: made[id(own)] for layer, own in planned.items()}


def _edit(each: edits.Edits) -> Edit:
    if each.deltas is None:
        return Shifts.of(each)
    addition = Addition(mx.array(each.deltas), None if each.columns is None else mx.array(each.columns))
    return addition if each.kind == "add" else Turn(addition)
