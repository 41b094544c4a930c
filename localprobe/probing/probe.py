"""A fitted probe: one unit direction per layer, and checks of the residuals that it is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A direction for each of `layers` layers; the positive pole of the training pairs scores higher at each."""

    directions: FloatArray
    """(layers, width) float32, each of length 1."""
    norms: FloatArray
    """(layers,) difference of the two training means of the scores. For the mean difference this is its length before
    it was normalised."""
    thresholds: FloatArray
    """(layers,) midpoint of the two training means of the scores."""

    def scores(self, residuals: FloatArray) -> FloatArray:
        """Dot product of each residual with its layer's direction: (texts, layers, width) -> (texts, layers)."""
        return np.asarray(np.einsum("tlw,lw->tl", residuals, self.directions), dtype=np.float32)

    def positions(self, residuals: FloatArray) -> FloatArray:
        """Scores on a scale where the training means are 0 (negative pole) and 1 (positive): (texts, layers)."""
        return (self.scores(residuals) - self.thresholds) / self.norms + np.float32(0.5)


def check_poles(positive: FloatArray, negative: FloatArray, *, least: int = 2) -> None:
    """DataError unless both are finite residuals (pairs, layers, width) of the same shape, of `least` pairs or more."""
    if not len(positive) or not len(negative):
        raise DataError(f"the {'negative' if len(positive) else 'positive'} pole has no texts: a direction needs both")
    if positive.ndim != 3 or negative.ndim != 3:
        raise DataError(f"residuals have shapes {positive.shape} and {negative.shape}, not (pairs, layers, width)")
    if positive.shape[1:] != negative.shape[1:]:
        raise DataError(
            f"the poles have (layers, width) {positive.shape[1:]} and {negative.shape[1:]}: capture both from one model"
        )
    if len(positive) != len(negative):
        raise DataError(f"{len(positive)} positive and {len(negative)} negative texts: row i of both must be one pair")
    if len(positive) < least:
        raise DataError(f"{len(positive)} pair: it takes at least {least} pairs, and better 20")
    for name, pole in (("positive", positive), ("negative", negative)):
        check_finite(pole, f"the {name} text of pair")


def check_finite(residuals: FloatArray, name: str) -> None:
    """DataError that names the first text, counted from 1, whose residuals (texts, ...) hold NaN or infinity."""
    finite = np.isfinite(residuals).reshape(len(residuals), -1).all(axis=1)
    if not finite.all():
        raise DataError(f"{name} {int(finite.argmin()) + 1} has residuals that are NaN or infinite: capture it again")
