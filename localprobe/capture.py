"""Residuals of texts: pooled a text, or at every token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from localprobe import batches
from localprobe.checks import check_rows
from localprobe.engine import Engine, FloatArray, IntArray, Row, Span, Steering
from localprobe.errors import EngineError, UsageError

Pooling: TypeAlias = Literal["mean", "mean-without-first", "last", "tokens"]
"""`mean` over all tokens is the paper's. The first token is an attention sink with a norm several times the rest, so
`mean-without-first` leaves it out. `tokens` pools nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """The residuals of one text."""

    index: int
    """Which text, in the order given."""
    ids: IntArray
    """(n,) int32, after any cut."""
    residuals: FloatArray
    """(layers, width), or (layers, n, width) for pooling `tokens`; float32."""
    cut: bool
    """Whether tokens beyond the limit were left out."""


def spans(pooling: str, length: int) -> tuple[Span, ...] | None:
    """The span of a row of `length` tokens that a pooling averages; None keeps every position."""
    match pooling:
        case "mean":
            return ((0, length),)
        case "mean-without-first":
            return ((min(1, length - 1), length),)
        case "last":
            return ((length - 1, length),)
        case "tokens":
            return None
    raise UsageError(f"pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")


def capture(
    engine: Engine,
    texts: Iterable[str],
    layers: Sequence[int],
    pooling: str = "mean",
    *,
    limit: int | None = None,
    steering: Steering = (),
) -> Iterator[Captured]:
    """Yield the residuals of texts, a batch at a time, in batches of like length (so not in order).

    Only a window of texts is held at once, so any number of texts takes the same memory. A text longer than the
    model's context is a UsageError; with `limit`, texts are cut to that many tokens instead, and say so.
    """
    start = 0
    for window in batches.windows(texts):
        ids = [_encoded(engine, text, start + i, limit) for i, text in enumerate(window)]
        rows = [Row(row, steering, spans(pooling, len(row))) for row, _ in ids]
        check_rows(engine.info, rows, layers)
        for batch, outputs in batches.forward(engine, rows, layers):
            for i, output in zip(batch, outputs, strict=True):
                residuals = output.residuals if pooling == "tokens" else output.residuals[:, 0]
                if not np.isfinite(residuals).all():
                    raise EngineError(
                        f"text {start + i + 1} gave residuals that are not finite in {engine.info.dtype}: "
                        "load the model with --dtype float32"
                    )
                yield Captured(start + i, ids[i][0], residuals, ids[i][1])
        start += len(window)


def pooled(
    engine: Engine, texts: Sequence[str], layers: Sequence[int], pooling: str = "mean", *, limit: int | None = None
) -> FloatArray:
    """Residuals of texts that fit in memory, in their order: (texts, layers, width) float32."""
    result = np.empty((len(texts), len(layers), engine.info.width), dtype=np.float32)
    for captured in capture(engine, texts, layers, pooling, limit=limit):
        result[captured.index] = captured.residuals
    return result


def _encoded(engine: Engine, text: str, index: int, limit: int | None) -> tuple[IntArray, bool]:
    if not text.strip():
        raise UsageError(f"text {index + 1} is empty: there is nothing to capture")
    ids = engine.encode(text)
    most = min(limit or engine.info.context, engine.info.context)
    if len(ids) > most and limit is None:
        raise UsageError(
            f"text {index + 1} has {len(ids)} tokens, and {engine.info.model} holds {most}: shorten it, or cut texts "
            f"to a length with --limit"
        )
    return ids[:most], len(ids) > most
