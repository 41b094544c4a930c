"""Where neutral texts fall between the poles: it places the zero of a probe's scores.

The paper found every score negative and read its probe as "absence of task focus". A score has no zero of its own: the
residual stream has a mean, and a direction cuts it somewhere. Texts without the concept give one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.probing.probe import Probe


@dataclass(frozen=True, slots=True)
class Neutral:
    """At one layer; positions are on the scale where the training means are 0 (negative pole) and 1 (positive)."""

    texts: int
    layer: int
    position: float
    """Mean of the neutral texts."""
    low: float
    """Lowest neutral text."""
    high: float
    between: float
    """Share of the texts from 0 to 1."""
    above_threshold: float
    """Share that the probe would call positive."""
    zero: float
    """Position of a score of 0: above 1, all scores of ordinary texts are negative."""


def neutral(probe: Probe, residuals: FloatArray, index: int, layer: int) -> Neutral:
    """Of neutral residuals (texts, layers, width), at the layer of that index and number."""
    positions = probe.positions(residuals)[:, index].astype(np.float64)  # (texts,)
    return Neutral(
        texts=len(positions),
        layer=layer,
        position=float(positions.mean()),
        low=float(positions.min()),
        high=float(positions.max()),
        between=float(((positions >= 0) & (positions <= 1)).mean()),
        above_threshold=float((positions > 0.5).mean()),
        zero=float(0.5 - probe.thresholds[index] / probe.norms[index]),
    )
