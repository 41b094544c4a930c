"""Turning the terms of a batch of rows into additions to the residuals of a pass, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import mlx.core as mx
import numpy as np

from localprobe.engine import FloatArray, Span, Steering


@dataclass(frozen=True, slots=True)
class Addition:
    """At most one delta per row. Overlapping terms of a row give several additions."""

    delta: mx.array
    """(rows, 1, width) float32; zeros for a row that is not steered."""
    cover: mx.array | None
    """(rows, length, 1) bool: positions that it applies to; None for all."""


Additions: TypeAlias = tuple[Addition, ...]
Covers: TypeAlias = tuple[tuple[Span | None, ...], ...]
"""For each row and term: the span that it covers, counted from the first position of the pass."""


def steer(hidden: mx.array, additions: Additions) -> mx.array:
    """`h + delta` (rows, length, width), added in float32 and rounded once to the dtype of `hidden`."""
    summed = hidden.astype(mx.float32)
    for addition in additions:
        delta = addition.delta
        summed = summed + (delta if addition.cover is None else mx.where(addition.cover, delta, 0.0))
    return summed.astype(hidden.dtype)


class Steerings:
    """The terms of each row, and their additions for the positions of a pass.

    Additions are cached for the next pass: while decoding, covers change only where a span begins or ends.
    """

    def __init__(self, rows: Sequence[Steering]) -> None:
        self.rows = list(rows)
        self._made: tuple[Covers, int, dict[int, Additions]] | None = None

    def replace(self, row: int, steering: Steering) -> None:
        self.rows[row] = steering
        self._made = None

    def take(self, rows: Sequence[int]) -> Steerings:
        """The steerings of some rows."""
        return Steerings([self.rows[row] for row in rows])

    def at(self, starts: Sequence[int], length: int) -> dict[int, Additions]:
        """Additions by layer, for a pass over positions `starts[row] .. starts[row] + length` of each row."""
        covers = tuple(
            tuple(_clip(term.start, term.stop, start, length) for term in steering)
            for steering, start in zip(self.rows, starts, strict=True)
        )
        if self._made is None or self._made[:2] != (covers, length):
            self._made = (covers, length, self._additions(covers, length))
        return self._made[2]

    def _additions(self, covers: Covers, length: int) -> dict[int, Additions]:
        deltas: dict[int, list[dict[Span, FloatArray]]] = {}  # layer -> for each row: span -> sum of deltas
        for row, (steering, spans) in enumerate(zip(self.rows, covers, strict=True)):
            for term, span in zip(steering, spans, strict=True):
                if span is not None:
                    own = deltas.setdefault(term.layer, [{} for _ in self.rows])[row]
                    own[span] = own[span] + term.delta if span in own else term.delta
        return {layer: _stack(rows, length) for layer, rows in deltas.items()}


def _clip(start: int, stop: int | None, first: int, length: int) -> Span | None:
    """The span relative to `first`, clipped to `length`; None if it is empty."""
    low = max(start - first, 0)
    high = length if stop is None else min(stop - first, length)
    return (low, high) if low < high else None


def _stack(rows: Sequence[dict[Span, FloatArray]], length: int) -> Additions:
    """The n-th addition holds the n-th delta of every row that has one."""
    width = next(len(delta) for deltas in rows for delta in deltas.values())
    additions = []
    for number in range(max(len(deltas) for deltas in rows)):
        delta = np.zeros((len(rows), 1, width), np.float32)
        cover = np.ones((len(rows), length, 1), np.bool_)
        for row, deltas in enumerate(rows):
            if number < len(deltas):
                (low, high), delta[row, 0] = list(deltas.items())[number]
                cover[row, :low] = cover[row, high:] = False
        additions.append(Addition(mx.array(delta), None if cover.all() else mx.array(cover)))
    return tuple(additions)
