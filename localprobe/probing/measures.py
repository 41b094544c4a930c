"""How well scores tell two poles apart: the measures of the paper's Table 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures at one layer."""

    auroc: float
    accuracy: float
    """At the threshold that was fixed on the training texts."""
    separation: float
    """Difference of the two poles' mean scores."""
    std_positive: float
    """Population standard deviation of the positive scores."""
    std_negative: float


def measure(positive: FloatArray, negative: FloatArray, threshold: float) -> Measures:
    """Measures of the scores of positive texts (p,) and negative texts (n,); neither may be empty."""
    right = (positive > threshold).sum() + (negative <= threshold).sum()
    return Measures(
        auroc=auroc(positive, negative),
        accuracy=float(right / (len(positive) + len(negative))),
        separation=float(positive.mean(dtype=np.float64) - negative.mean(dtype=np.float64)),
        std_positive=float(positive.std(dtype=np.float64)),
        std_negative=float(negative.std(dtype=np.float64)),
    )


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
