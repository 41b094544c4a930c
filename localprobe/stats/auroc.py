"""Area under the ROC curve, along the last axis of any number of scores at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Probability that a positive text (p,) scores above a negative one (n,), ties counted half."""
    return float(aurocs(positive, negative))


def aurocs(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> NDArray[np.float64]:
    """AUROC along the last axis: scores (..., p) and (..., n) -> (...)."""
    counts = positive.shape[-1], negative.shape[-1]
    # A stable sort keeps ties in order: in one direction all of them count as wins, in the other as losses.
    lost = _rank_sum(np.concatenate([positive, negative], axis=-1), slice(counts[0]))
    won = _rank_sum(np.concatenate([negative, positive], axis=-1), slice(counts[1], None))
    least = counts[0] * (counts[0] - 1)  # twice the sum of the positive texts' ranks when they come first
    return np.asarray((lost + won - least) / (2 * counts[0] * counts[1]))


def _rank_sum(scores: NDArray[np.floating], which: slice) -> NDArray[np.int64]:
    """Sum of the 0-based ranks of the scores at `which` among all scores."""
    order = scores.argsort(axis=-1, kind="stable")
    selected = np.zeros(scores.shape[-1], dtype=np.int64)
    selected[which] = 1
    return np.asarray(selected[order] @ np.arange(scores.shape[-1]))
