"""The two ways of steering with llama.cpp: its control vector, and edits in the callback."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise

import numpy as np

from localprobe.engine import FloatArray, Steering, Term
from localprobe_llama.edits import Addition, Change, Edit, Move


def effective(steering: Steering) -> Steering:
    """Terms that do something: adding zero would change the sign of a negative zero."""
    return tuple(term for term in steering if not term.idle)


def plan(edits: dict[int, list[Edit]], steering: Steering, start: int, stop: int, first: int) -> None:
    """Append to `edits` (by layer) what steering does to positions [start, stop), which are rows from `first` on.

    Additions that follow each other at a position are summed first, as in a control vector.
    """
    for layer, terms in _by_layer(steering).items():
        ends = {start, stop}
        for term in terms:
            ends |= {term.start, stop if term.stop is None else term.stop}
        for low, high in pairwise(sorted(end for end in ends if start <= end <= stop)):
            covering = [term for term in terms if term.covers(low)]
            for change in _changes(covering):
                edits.setdefault(layer, []).append((low - start + first, high - start + first, change))


def steps(rows: Sequence[tuple[Steering, int]]) -> tuple[Mapping[int, Sequence[Edit]], int]:
    """What steering does in a decode step that runs one position of each row, and for how many steps from this one on
    it does the same.

    Rows that follow each other are edited together where they can be: sixteen calls take as long as much of a step.
    """
    left = sys.maxsize
    changes: dict[int, list[list[Change]]] = {}  # by layer: the changes of each row
    for number, (steering, position) in enumerate(rows):
        left = min([left, *(edge - position for edge in _edges(steering) if edge > position)])
        for layer, terms in _by_layer(term for term in steering if term.covers(position)).items():
            of_rows = changes.setdefault(layer, [[] for _ in rows])
            of_rows[number] = list(_changes(terms))
    return {layer: list(_joined(of_rows)) for layer, of_rows in changes.items()}, left


def control(rows: Sequence[tuple[Steering, int]]) -> dict[int, FloatArray] | None:
    """Deltas by layer that steer all rows, each from its position on; None if no control vector can."""
    if not rows:
        return {}
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
        if term.operator != "add" or term.start > position or term.stop is not None:
            return None
        if term.layer == 0:  # control vectors begin at layer 1
            return None
        deltas.setdefault(term.layer, []).append(term.delta)
    return {layer: _sum(each) for layer, each in deltas.items()}


def _by_layer(terms: Iterable[Term]) -> dict[int, list[Term]]:
    layers: dict[int, list[Term]] = {}
    for term in terms:
        layers.setdefault(term.layer, []).append(term)
    return layers


def _edges(steering: Steering) -> Iterator[int]:
    for term in steering:
        yield term.start
        if term.stop is not None:
            yield term.stop


def _changes(terms: Iterable[Term]) -> Iterator[Change]:
    """What the terms that cover a position at a layer do to it, in order."""
    for operator, run in groupby(terms, key=lambda term: term.operator):
        if operator == "add":
            yield Addition(_sum([term.delta for term in run])[None])
            continue
        for term in run:
            if term.coordinates is not None:
                yield Move.along(term.coordinates)
            else:
                yield Addition(term.delta[None], term.keep_norm)


def _joined(rows: Sequence[Sequence[Change]]) -> Iterator[Edit]:
    """The first changes of all rows, then the second ones: rows do not influence each other."""
    for number in range(max(map(len, rows))):
        changes = [own[number] if len(own) > number else None for own in rows]
        first = 0
        for _, run in groupby(changes, key=lambda change: None if change is None else change.kind):
            alike = list(run)
            some = [change for change in alike if change is not None]  # all of them or none
            if some:
                yield first, first + len(some), some[0].joined(some[1:]) if some[1:] else some[0]
            first += len(alike)


def _sum(deltas: Sequence[FloatArray]) -> FloatArray:
    return deltas[0] if len(deltas) == 1 else np.add.reduce(deltas, dtype=np.float32)
