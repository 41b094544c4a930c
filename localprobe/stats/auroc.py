"""Area under the ROC curve, along the last axis of any number of scores at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Chance that a positive text (p,) scores above a negative one (n,), ties counted half."""
    return float(aurocs(positive, negative))


def aurocs(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> NDArray[np.float64]:
    """AUROC along the last axis: scores (..., p) and (..., n) -> (...)."""
    counts = positive.shape[-1], negative.shape[-1]
    # A stable sort leaves ties in order: each way round, all of them are won or all are lost.
    lost = _places(np.concatenate([positive, negative], axis=-1), slice(counts[0]))
    won = _places(np.concatenate([negative, positive], axis=-1), slice(counts[1], None))
    least = counts[0] * (counts[0] - 1)  # twice the sum of the positive texts' places when they come first
    return np.asarray((lost + won - least) / (2 * counts[0] * counts[1]))


def _places(scores: NDArray[np.floating], which: slice) -> NDArray[np.int64]:
    """Sum of the places, from 0, that the scores at `which` take when all are sorted."""
    order = scores.argsort(axis=-1, kind="stable")
    chosen = np.zeros(scores.shape[-1], dtype=np.int64)
    chosen[which] = 1
    return np.asarray(chosen[order] @ np.arange(scores.shape[-1]))
