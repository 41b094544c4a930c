"""Which layer to use, chosen inside the training pairs: choosing it on the test texts flatters the result."""

from __future__ import annotations

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.mean_difference import fit
from localprobe.probing.measures import auroc

_FOLDS = 5


def cross_validate(positive: FloatArray, negative: FloatArray, *, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """AUROC and standardised separation of every layer on pairs left out of the fit, by folds over pairs.

    `positive` and `negative` are (pairs, layers, width), row i of each being one pair. Returns two arrays (layers,);
    the separation is in units of the scores' own spread. Raises DataError for fewer than two pairs.
    """
    pairs, layers = positive.shape[:2]
    if pairs < 2:
        raise DataError(f"{pairs} pair to choose a layer from: it takes at least 2, and better 20")
    folds = np.random.default_rng(seed).permutation(pairs) % min(_FOLDS, pairs)
    areas, gaps = [], []
    for fold in range(min(_FOLDS, pairs)):
        out = folds == fold
        probe = fit(positive[~out], negative[~out])
        high, low = probe.scores(positive[out]), probe.scores(negative[out])  # (held out, layers)
        areas.append([auroc(high[:, b], low[:, b]) for b in range(layers)])
        spread = np.sqrt((high.var(axis=0) + low.var(axis=0)) / 2) + 1e-12
        gaps.append((high.mean(axis=0) - low.mean(axis=0)) / spread)
    return np.mean(areas, axis=0, dtype=np.float32), np.mean(gaps, axis=0, dtype=np.float32)


def choose_layer(positive: FloatArray, negative: FloatArray, *, seed: int = 0) -> int:
    """Index of the layer with the best AUROC on pairs left out; ties go to the wider standardised separation."""
    areas, gaps = cross_validate(positive, negative, seed=seed)
    return max(range(len(areas)), key=lambda b: (round(float(areas[b]), 6), float(gaps[b])))
