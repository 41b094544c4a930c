"""A probe against rated behaviour (the paper's Table 3 and Figure 5): do texts rated higher score higher?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localprobe.contrast.rated import Rated
from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.binary import Binary
from localprobe.probing.correlate import Correlation, coefficients, correlate
from localprobe.probing.fit import probe_of
from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True)
class AtLayer:
    """Coefficients at one layer. They show how much the layer matters; they are not for choosing one."""

    layer: int
    pearson: float | None
    spearman: float | None


@dataclass(frozen=True, slots=True)
class RatedScore:
    """A rated text and its score at the probe's own layer."""

    id: str
    scenario: str
    rating: float
    score: float


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Ratings and the scores of one probe at its own layer, which was chosen without these texts."""

    layer: int
    threshold: float
    n: int
    pearson: Correlation
    spearman: Correlation
    binary: Binary
    by_layer: tuple[AtLayer, ...]
    points: tuple[RatedScore, ...]


def behaviour(vector: Vector, texts: Sequence[Rated], residuals: FloatArray, *, seed: int = 0) -> Behaviour:
    """Score rated texts: residuals (texts, layers, width) at the vector's layers in ascending order.

    Raises DataError for fewer than four texts, ratings or scores that do not vary, or residuals of other layers.
    """
    layers = sorted(vector.directions)
    probe = probe_of(vector)
    if residuals.shape[1:] != probe.directions.shape:
        raise DataError(
            f"the rated texts have residuals {residuals.shape[1:]} and the probe {probe.directions.shape} (layers, "
            "width): they come from different models"
        )
    layer = vector.layer()
    scores = probe.scores(residuals)  # (texts, layers)
    own = scores[:, layers.index(layer)]
    ratings = [text.score for text in texts]
    threshold = vector.directions[layer].threshold
    correlates = correlate(ratings, own, threshold, seed=seed)
    return Behaviour(
        layer=layer,
        threshold=threshold,
        n=correlates.n,
        pearson=correlates.pearson,
        spearman=correlates.spearman,
        binary=correlates.binary,
        by_layer=tuple(AtLayer(b, *coefficients(ratings, scores[:, i])) for i, b in enumerate(layers)),
        points=tuple(
            RatedScore(text.id, text.scenario, text.score, float(f"{score:.6g}"))
            for text, score in zip(texts, own, strict=True)
        ),
    )
