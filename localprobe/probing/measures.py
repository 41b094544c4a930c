"""How well scores separate two poles: the measures of the paper's Table 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.stats.auroc import auroc


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures at one layer."""

    auroc: float
    accuracy: float
    """At the threshold from the training texts."""
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
