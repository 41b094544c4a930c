"""The paper's probe: the difference of the two class means, normalised (equation 1), for every layer at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class MeanDifference:
    """A fitted direction for each of `layers` layers."""

    directions: FloatArray
    """(layers, width) float32, each of length 1."""
    norms: FloatArray
    """(layers,) length of the difference before it was normalised."""
    thresholds: FloatArray
    """(layers,) midpoint of the two training means of the scores."""

    def scores(self, residuals: FloatArray) -> FloatArray:
        """Dot product of each residual with its layer's direction: (texts, layers, width) -> (texts, layers)."""
        return np.asarray(np.einsum("tlw,lw->tl", residuals, self.directions), dtype=np.float32)


def fit(positive: FloatArray, negative: FloatArray) -> MeanDifference:
    """Fit on pooled residuals of both poles, each (texts, layers, width).

    Raises DataError if a pole is empty or the two means are the same at some layer.
    """
    if not len(positive) or not len(negative):
        raise DataError("one pole has no texts: a direction needs both")
    high = positive.mean(axis=0, dtype=np.float64)  # (layers, width)
    low = negative.mean(axis=0, dtype=np.float64)
    norms = np.linalg.norm(high - low, axis=-1)  # (layers,)
    if not norms.all():
        raise DataError("the two poles have the same mean residual: are their texts the same?")
    directions = (high - low) / norms[:, None]
    thresholds = ((high + low) / 2 * directions).sum(axis=-1)
    return MeanDifference(directions.astype(np.float32), norms.astype(np.float32), thresholds.astype(np.float32))
