"""The span of the training texts at one layer, where every method is fitted.

35 pairs span at most 69 of a model's 4,096 dimensions, and no method here uses more than that span. So the texts are
rotated into it once, exactly, and the cost of a fit does not depend on the width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.stats.arrays import Array

_NOISE = 1e-12  # of the largest variance: below it is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Principal coordinates of the training texts, and the maps to and from residuals."""

    centre: Array
    """(width,) mean of the training texts."""
    spread: Array
    """(width,) divisor of each dimension: ones, or its standard deviation over the training texts."""
    axes: Array
    """(rank, width), orthonormal."""
    coordinates: Array
    """(2 * pairs, rank) the training texts, first the positive ones; columns are centred and orthogonal."""

    @classmethod
    def of(cls, positive: FloatArray, negative: FloatArray, *, standardise: bool) -> Span:
        """From pooled residuals (pairs, width) of both poles; swapping the poles changes nothing."""
        texts = np.concatenate([positive, negative]).astype(np.float64)  # (texts, width)
        centre = texts.mean(axis=0)
        spread = texts.std(axis=0) if standardise else np.ones_like(centre)
        spread[spread == 0] = 1
        texts = (texts - centre) / spread
        # The Gram matrix of the shorter side: a singular value decomposition takes 25 times as long.
        wide = texts.shape[1] > texts.shape[0]
        variances, vectors = np.linalg.eigh(texts @ texts.T if wide else texts.T @ texts)
        significant = variances > _NOISE * variances[-1]
        lengths = np.sqrt(variances[significant])
        axes = (vectors[:, significant].T @ texts) / lengths[:, None] if wide else vectors[:, significant].T
        return cls(centre, spread, axes, texts @ axes.T)

    def project(self, residuals: FloatArray) -> Array:
        """Coordinates (texts, rank) of other texts' residuals (texts, width)."""
        return np.asarray(((residuals - self.centre) / self.spread) @ self.axes.T)

    def direction(self, weights: Array) -> Array:
        """The direction (width,) whose dot product with a residual is `weights` (rank,) times its coordinates."""
        return np.asarray((weights @ self.axes) / self.spread)
