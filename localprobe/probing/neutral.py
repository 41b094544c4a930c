"""The position of neutral texts between the poles, which gives a probe's scores a reference point.

The paper found every score negative and read its probe as "absence of task focus". But the zero of a score means
nothing: the residual stream has a mean, whose projection is arbitrary. Texts without the concept give a reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.probing.probe import Probe


@dataclass(frozen=True, slots=True)
class Neutral:
    """Neutral texts at one layer; positions are on the scale where the training means are 0 (negative pole) and 1
    (positive)."""

    texts: int
    layer: int
    position: float
    """Mean of the neutral texts."""
    low: float
    """Position of the lowest neutral text."""
    high: float
    between: float
    """Share of the texts from 0 to 1."""
    above_threshold: float
    """Share of the texts that the probe calls positive."""
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
