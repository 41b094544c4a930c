"""The positions where steering applies (`all`, `prompt`, `response`), turned into terms of the engine contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from localprobe.engine import FloatArray, Steering, Term
from localprobe.errors import UsageError
from localprobe.vectors.vector import times

Positions = Literal["all", "prompt", "response"]


def span(positions: str, prompt: int, start: int = 0) -> tuple[int, int | None]:
    """The span `[first, stop)` that a name stands for, for a prompt that ends before position `prompt`.

    `all` is what the paper and llama.cpp do. `response` begins at the prompt's last position, which predicts the first
    token of the answer; `prompt` is everything before it. `start` is the first position of a later turn of a chat,
    whose earlier positions keep the steering that they were computed under.
    """
    match positions:
        case "all":
            return start, None
        case "prompt":
            return start, prompt - 1
        case "response":
            return prompt - 1, None
    raise UsageError(f"positions {positions!r}: choose one of {', '.join(get_args(Positions))}")


def term(layer: int, vector: FloatArray, alpha: float, where: tuple[int, int | None] = (0, None)) -> Term:
    """`h' = h + alpha * vector` at `layer` over a span (the paper's equation 2), multiplied in float32."""
    return Term(layer, times(alpha, vector), *where)


def ended(steering: Iterable[Term], stop: int) -> Steering:
    """The terms restricted to positions before `stop`: the steering that the past of a row was computed under."""
    closed = []
    for t in steering:
        end = stop if t.stop is None else min(t.stop, stop)
        if t.start < end:
            closed.append(Term(t.layer, t.delta, t.start, end))
    return tuple(closed)


def begun(steering: Iterable[Term], start: int) -> Steering:
    """The terms restricted to positions from `start` on: the steering of what is still to be computed."""
    return tuple(
        Term(t.layer, t.delta, max(t.start, start), t.stop) for t in steering if t.stop is None or t.stop > start
    )


def same_until(a: Steering, b: Steering, limit: int) -> int:
    """The number of leading positions, at most `limit`, to which two steerings add the same, bit for bit."""
    edges = {0, limit}
    for t in (*a, *b):
        edges.update(e for e in (t.start, t.stop) if e is not None and e < limit)
    for position in sorted(edges):  # between two edges nothing changes
        if position < limit and not _alike(a, b, position):
            return position
    return limit


def _alike(a: Steering, b: Steering, position: int) -> bool:
    return _at(a, position) == _at(b, position)


def _at(steering: Steering, position: int) -> list[tuple[int, bytes]]:
    """What is added at a position, as comparable values: (layer, bytes) of each term that is not zero."""
    return sorted((t.layer, t.delta.tobytes()) for t in steering if t.covers(position) and t.delta.any())
