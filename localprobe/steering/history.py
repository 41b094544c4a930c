"""The steering of a row over its positions: what was computed under which terms, and what is still to come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

from localprobe.engine import Steering, Term


def ended(steering: Iterable[Term], stop: int) -> Steering:
    """The terms restricted to positions before `stop`: the steering that the past of a row was computed under."""
    closed = []
    for t in steering:
        end = stop if t.stop is None else min(t.stop, stop)
        if t.start < end:
            closed.append(replace(t, stop=end))
    return tuple(closed)


def begun(steering: Iterable[Term], start: int) -> Steering:
    """The terms restricted to positions from `start` on: the steering of what is still to be computed."""
    return tuple(replace(t, start=max(t.start, start)) for t in steering if t.stop is None or t.stop > start)


def same_until(a: Steering, b: Steering, limit: int) -> int:
    """The number of leading positions, at most `limit`, to which two steerings do the same, bit for bit."""
    edges = {0, limit}
    for t in (*a, *b):
        edges.update(e for e in (t.start, t.stop) if e is not None and e < limit)
    for position in sorted(edges):  # between two edges nothing changes
        if position < limit and not _alike(a, b, position):
            return position
    return limit


def _alike(a: Steering, b: Steering, position: int) -> bool:
    return _at(a, position) == _at(b, position)


def _at(steering: Steering, position: int) -> dict[int, list[Hashable]]:
    """What is done at a position, as comparable values: for each layer its terms, without those that do nothing. The
    order of additions to one residual does not matter."""
    layers: dict[int, list[Term]] = {}
    for t in steering:
        if t.covers(position) and not t.idle:
            layers.setdefault(t.layer, []).append(t)
    return {layer: _comparable(terms) for layer, terms in layers.items()}


def _comparable(terms: list[Term]) -> list[Hashable]:
    contents = [t.content for t in terms]
    return sorted(contents, key=repr) if all(t.operator == "add" for t in terms) else contents
