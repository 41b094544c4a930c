"""Choice of a layer by cross-validation inside the training pairs: choosing it on the test texts flatters the
result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.methods import Method, method_of
from localprobe.probing.span import Span
from localprobe.stats.arrays import Array
from localprobe.stats.auroc import aurocs

_FOLDS = 5


def choose_layer(positive: FloatArray, negative: FloatArray, *, method: str = "mean-difference", seed: int = 0) -> int:
    """Index of the layer with the best AUROC on pairs left out; ties go to the wider standardised separation.

    `positive` and `negative` are (pairs, layers, width), row i of each being one pair. Raises DataError for fewer
    than two pairs.
    """
    areas, gaps = cross_validate(positive, negative, method=method, seed=seed)
    return int(best_layers(areas, gaps)[0])


def middle(layers: int) -> list[int]:
    """The middle half of a model's layers, 8 to 24 of the paper's 32: lower layers
    mostly encode the current words, and higher ones the next word."""
    return list(range(layers // 4, 3 * layers // 4 + 1))


def cross_validate(
    positive: FloatArray,
    negative: FloatArray,
    *,
    method: str = "mean-difference",
    seed: int = 0,
    signs: Array | None = None,
) -> tuple[Array, Array]:
    """AUROC and standardised separation of every layer on pairs left out of the fit, by folds over pairs.

    Returns two arrays (labellings, layers). A labelling is a row of `signs` (labellings, pairs), -1 where the texts of
    a pair are swapped before anything is fitted; without `signs` there is one labelling, unswapped. The separation is
    that of the two texts of a pair, over its own standard deviation. Raises DataError for fewer than two pairs.
    """
    pairs, layers = positive.shape[:2]
    if pairs < 2:
        raise DataError(f"{pairs} pair to choose a layer from: it takes at least 2, and better 20")
    signs = np.ones((1, pairs)) if signs is None else signs
    folds = np.random.default_rng(seed).permutation(pairs) % min(_FOLDS, pairs)
    measures = [_layer(positive[:, b], negative[:, b], method_of(method), signs, folds) for b in range(layers)]
    areas, gaps = zip(*measures, strict=True)
    return np.stack(areas, axis=1), np.stack(gaps, axis=1)


def best_layers(areas: Array, gaps: Array) -> NDArray[np.int64]:
    """The best layer of each labelling, of the two arrays that `cross_validate` gives."""
    tied = areas >= areas.max(axis=1, keepdims=True) - 1e-6
    return np.asarray(np.where(tied, gaps, -np.inf).argmax(axis=1))


def scored(
    train: tuple[FloatArray, FloatArray],
    out: tuple[FloatArray, FloatArray],
    method: Method,
    signs: Array,
    out_signs: Array,
) -> tuple[Array, Array]:
    """Scores of both texts of left-out pairs under every labelling, each (labellings, pairs left out).

    `train` and `out` are residuals (pairs, width) of both poles at one layer; signs are (labellings, pairs). Scores
    are in units of the difference between the training means.
    """
    span = Span.of(*train, standardise=method.standardise)
    weights = method.solve(span.coordinates, signs, train[0].shape[1])  # (labellings, rank)
    pairs = signs.shape[1]
    differences = span.coordinates[:pairs] - span.coordinates[pairs:]  # (pairs, rank)
    units = ((signs @ differences / pairs) * weights).sum(axis=1, keepdims=True)  # (labellings, 1)
    first, second = (span.project(pole) @ weights.T / np.maximum(units.T, 1e-300) for pole in out)
    unswapped = out_signs > 0
    return np.where(unswapped, first.T, second.T), np.where(unswapped, second.T, first.T)


def _layer(
    positive: FloatArray, negative: FloatArray, method: Method, signs: Array, folds: NDArray[np.int64]
) -> tuple[Array, Array]:
    """AUROC and separation (labellings,) at one layer, of poles (pairs, width)."""
    areas, gaps = [], []
    for fold in range(folds.max() + 1):
        out = folds == fold
        train = positive[~out], negative[~out]
        high, low = scored(train, (positive[out], negative[out]), method, signs[:, ~out], signs[:, out])
        areas.append(aurocs(high, low))
        gaps.append(high - low)
    gap = np.concatenate(gaps, axis=1)  # (labellings, pairs)
    return np.mean(areas, axis=0), gap.mean(axis=1) / (gap.std(axis=1) + 1e-12)
