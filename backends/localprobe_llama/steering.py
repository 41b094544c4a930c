"""The two ways of steering with llama.cpp: its control vector, and additions in the callback."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from localprobe.engine import FloatArray, Steering
from localprobe_llama.callback import Addition


def effective(steering: Steering) -> Steering:
    """Terms that are not zero: adding zero would change the sign of a negative zero."""
    return tuple(term for term in steering if not term.idle)


def add(additions: dict[int, list[Addition]], steering: Steering, start: int, stop: int, first: int) -> None:
    """Append to `additions` (by layer) what steering adds to positions [start, stop), which are rows from `first` on.

    Terms that cover the same position are summed first, as in a control vector.
    """
    for layer in sorted({term.layer for term in steering}):
        terms = [term for term in steering if term.layer == layer]
        ends = {start, stop}
        for term in terms:
            ends |= {term.start, stop if term.stop is None else term.stop}
        for low, high in pairwise(sorted(end for end in ends if start <= end <= stop)):
            deltas = [term.delta for term in terms if term.covers(low)]
            if deltas:
                additions.setdefault(layer, []).append((low - start + first, high - start + first, _sum(deltas)))


def control(rows: Sequence[tuple[Steering, int]]) -> dict[int, FloatArray] | None:
    """Deltas by layer that steer all rows, each from its position on; None if no control vector can."""
    deltas = [_control(steering, position) for steering, position in rows]
    first = deltas[0]
    if first is None:
        return None
    for other in deltas[1:]:
        if other is None or other.keys() != first.keys():
            return None
        if any(other[layer] is not delta and not np.array_equal(other[layer], delta) for layer, delta in first.items()):
            return None
    return first


def _control(steering: Steering, position: int) -> dict[int, FloatArray] | None:
    deltas: dict[int, list[FloatArray]] = {}
    for term in steering:
        if term.stop is not None and term.stop <= position:
            continue  # no longer applies
        if term.start > position or term.stop is not None or term.layer == 0:  # control vectors begin at layer 1
            return None
        deltas.setdefault(term.layer, []).append(term.delta)
    return {layer: _sum(each) for layer, each in deltas.items()}


def _sum(deltas: Sequence[FloatArray]) -> FloatArray:
    return deltas[0] if len(deltas) == 1 else np.add.reduce(deltas, dtype=np.float32)
