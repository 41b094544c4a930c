"""Next-token log-probabilities of any vectors of a model's width, as if each were the last block's residual.

No weights are read: the last block's residual of some position is replaced by the vector, through steering, and the
engine goes on with its own final norm, head and softcap. So this works on every engine and quantisation. Positions do
not see each other after the last block, so each position of a row carries one vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from localprobe import batches
from localprobe.checks import check_rows
from localprobe.engine import Engine, FloatArray, Row, Term
from localprobe.errors import EngineError

POSITIONS = 32
"""Vectors per row. Each is a steering term of its own, and engines take the terms of a row one by one."""
_FLOATS = 1 << 25
"""The most log-probabilities held at once, 128 MB: vocabularies reach 262,144."""
_CARRIER = "A river runs from the hills to the sea, and people have built their towns along it for a long time."
_ROUNDING = {"bfloat16": 2.0**-7, "float16": 2.0**-9}
"""By how much the residual that the head reads may differ from the vector, relative to its length: the rounding of the
type that residuals are kept in."""
_SINGLE = 1e-3


class Readout:
    """Reads vectors through the end of a model. UsageError if the engine cannot steer the last block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        able, info = engine.info.capabilities, engine.info
        self._positions = min(POSITIONS, info.context - 1) if able.span_steering else 1
        words = engine.encode(_CARRIER)[1:]
        self._ids = np.resize(words, self._positions + 1)  # the first position, an attention sink, carries nothing
        self._layer = info.layers - 1
        self._rows = max(1, min(batches.ROWS, _FLOATS // (info.vocabulary * self._positions)))
        self._own: dict[int, FloatArray] = {}
        check_rows(info, [self._row(np.zeros((1, info.width), np.float32))], [self._layer])

    @property
    def length(self) -> float:
        """Median length of the last block's residual over the positions of an ordinary text."""
        return float(np.median(np.linalg.norm(self._hosts(1)[0], axis=-1)))

    def logprobs(self, vectors: FloatArray) -> Iterator[FloatArray]:
        """(vocabulary,) float32 for each of `vectors` (n, width), in order: natural log of the probabilities of the
        next token, at temperature 1. At most 128 MB of them are held at once.

        Residuals that the engine keeps in 16 bits are rounded to them once, as its own are. EngineError if the engine
        does not put the vectors where they belong.
        """
        step = self._rows * self._positions
        for start in range(0, len(vectors), step):
            part = vectors[start : start + step]
            rows = [part[at : at + self._positions] for at in range(0, len(part), self._positions)]
            yield from self._read(rows)

    def _read(self, carried: list[FloatArray]) -> Iterator[FloatArray]:
        deltas = [
            vectors - own[: len(vectors)] for vectors, own in zip(carried, self._hosts(len(carried)), strict=True)
        ]
        for _ in range(2):
            found, full = self._forward(deltas)
            off = [vectors - residuals for vectors, residuals in zip(carried, found, strict=True)]
            worst = max(_relative(error, vectors) for error, vectors in zip(off, carried, strict=True))
            if worst <= _ROUNDING.get(self._engine.info.dtype, _SINGLE):
                for rows in full:
                    yield from rows
                return
            # llama.cpp rounds activations by the shape of the batch, so a smaller batch had other residuals.
            deltas = [np.asarray(delta + error) for delta, error in zip(deltas, off, strict=True)]
        info = self._engine.info
        raise EngineError(
            f"{info.engine} did not put a vector at the last block of {info.model}: off by {worst:.1%} of its length"
        )

    def _forward(self, deltas: list[FloatArray]) -> tuple[list[FloatArray], list[FloatArray]]:
        """Residuals (vectors, width) and log-probabilities (vectors, vocabulary) of rows steered by `deltas`."""
        found: dict[int, tuple[FloatArray, FloatArray]] = {}
        for batch, outputs in batches.forward(self._engine, [self._row(delta) for delta in deltas], [self._layer]):
            for i, output in zip(batch, outputs, strict=True):
                found[i] = output.residuals[0, 1 : 1 + len(deltas[i])], output.full
        ordered = [found[i] for i in range(len(deltas))]
        return [residuals for residuals, _ in ordered], [full for _, full in ordered]

    def _row(self, deltas: FloatArray) -> Row:
        if self._engine.info.capabilities.span_steering:
            terms = tuple(Term(self._layer, delta, i, i + 1) for i, delta in enumerate(deltas, 1))
        else:
            terms = (Term(self._layer, deltas[0]),)
        return Row(self._ids, terms, full=tuple(range(1, 1 + len(deltas))))

    def _hosts(self, rows: int) -> list[FloatArray]:
        """The carrier's own residuals at its positions, (positions, width), in a batch of `rows` rows."""
        if rows not in self._own:
            unsteered = [Row(self._ids) for _ in range(rows)]
            found: dict[int, FloatArray] = {}
            for batch, outputs in batches.forward(self._engine, unsteered, [self._layer]):
                found |= {i: output.residuals[0, 1:] for i, output in zip(batch, outputs, strict=True)}
            self._own[rows] = np.stack([found[i] for i in range(rows)])
        return list(self._own[rows])


def _relative(error: FloatArray, vectors: FloatArray) -> float:
    """The largest length of an error, relative to that of its vector."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1), np.finfo(np.float32).tiny)
    worst = float(np.max(np.linalg.norm(error, axis=-1) / lengths))
    return worst if np.isfinite(worst) else np.inf
