"""The logit lens: what the model would say next if it stopped after each layer (nostalgebraist, 2020).

The residual of a layer at a position goes straight through the final norm and the head, on the engine's own code
(`localprobe.lens.readout`). At the last layer that is the model's prediction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from localprobe.capture.residuals import Text, encode
from localprobe.checks import check_rows
from localprobe.engine import Engine, FloatArray, IntArray, Row
from localprobe.errors import DataWarning, EngineError, UsageError
from localprobe.lens.readout import Readout
from localprobe.lens.result import Lens, TokenScores
from localprobe.lens.tokens import TokenTexts
from localprobe.steering.scoring import Scoring
from localprobe.vectors.vector import Vector

LIMIT = 128
"""Tokens of a text that are read if no limit is given: each costs a token's pass for every layer."""


def lens(
    engine: Engine,
    text: Text | IntArray,
    layers: Sequence[int],
    *,
    vector: Vector | None = None,
    at: int | None = None,
    top: int = 5,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lens:
    """Read a text, or ids (n,), through the end of the model after each of `layers` (0-based).

    `vector` also scores every token by the probe at layer `at` (its best one if None). At most LIMIT tokens are read,
    with a warning of what is cut, or `limit`, or what the context holds. `progress` is called with the layers done and
    their number. UsageError for a bad argument, VectorError for a vector of another model, EngineError if residuals are
    not finite.
    """
    if not 1 <= top <= engine.info.vocabulary:
        raise UsageError(f"`top` {top} is not between 1 and the vocabulary of {engine.info.vocabulary}")
    if not layers:
        raise UsageError("name at least one of the `layers`")
    if limit is not None and limit < 1:
        raise UsageError(f"`limit` {limit} leaves no token: give 1 or more")
    ids, cut = _ids(engine, text, limit)
    scored = None if vector is None else vector.within(engine.info.model, engine.info.layers, engine.info.width)
    at = scored.layer(at) if scored else None
    residuals = _residuals(engine, ids, sorted({*layers, *([] if at is None else [at])}))
    readout, texts, found = Readout(engine), TokenTexts(engine), []
    for number, layer in enumerate(layers):
        progress(number, len(layers))
        found.append(_Most(readout, residuals[layer], ids, top))
    best = np.array([most.ids for most in found], dtype=np.int32)
    return Lens(
        engine.info.model,
        engine.info.engine,
        ids,
        tuple(texts[int(token)] for token in ids),
        tuple(layers),
        best,
        np.array([most.logprobs for most in found], dtype=np.float32),
        np.array([most.following for most in found], dtype=np.float32),
        {int(token): texts[int(token)] for token in np.unique(best)},
        None if scored is None or at is None else _scores(scored, at, residuals[at]),
        cut,
    )


def _ids(engine: Engine, text: Text | IntArray, limit: int | None) -> tuple[IntArray, bool]:
    """Ids up to the limit, and whether some were cut; warns if the user gave no limit."""
    most = min(limit or LIMIT, engine.info.context)
    if isinstance(text, np.ndarray):
        ids, cut = np.asarray(text, dtype=np.int32)[:most], len(text) > most
    else:
        encoded = encode(engine, text, limit=most)
        ids, cut = encoded.ids, encoded.cut
    if cut and (limit is None or limit > most):
        told = f"the text is longer than {most} tokens, and the lens reads the first {most}"
        more = "" if most == engine.info.context else ": `limit` reads more"
        warnings.warn(told + more, DataWarning, stacklevel=4)
    return ids, cut


def _residuals(engine: Engine, ids: IntArray, layers: Sequence[int]) -> dict[int, FloatArray]:
    """Layer -> residuals (n, width)."""
    rows = [Row(ids)]
    check_rows(engine.info, rows, layers)
    residuals = engine.forward(rows, layers)[0].residuals
    if not np.isfinite(residuals).all():
        raise EngineError(
            f"the text gave residuals that are not finite in {engine.info.dtype}: load the model with `dtype` float32"
        )
    return dict(zip(layers, residuals, strict=True))


class _Most:
    """The most likely tokens after each residual of a layer, and how likely the text's own next token is."""

    def __init__(self, readout: Readout, residuals: FloatArray, ids: IntArray, count: int) -> None:
        self.ids: list[IntArray] = []
        self.logprobs: list[FloatArray] = []
        self.following: list[float] = []
        for i, row in enumerate(readout.logprobs(residuals)):
            ordered = _largest(row, count)
            self.ids.append(ordered)
            self.logprobs.append(row[ordered])
            self.following.append(float(row[ids[i + 1]]) if i + 1 < len(ids) else np.nan)


def _largest(row: FloatArray, count: int) -> IntArray:
    """Indices of the `count` largest, the largest first; of equals, the lowest index first."""
    least = np.partition(row, -count)[-count]
    candidates = np.flatnonzero(row >= least)
    return candidates[np.argsort(-row[candidates], kind="stable")][:count].astype(np.int32)


def _scores(vector: Vector, layer: int, residuals: FloatArray) -> TokenScores:
    scoring = Scoring.of(vector, layer)
    values = np.asarray(residuals @ scoring.watch.vector, dtype=np.float32)
    return TokenScores(vector.concept, layer, values, scoring.midpoint, scoring.reach)
