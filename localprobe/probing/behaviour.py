"""A probe against rated behaviour (the paper's Table 3 and Figure 5): do texts rated higher score higher?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from localprobe.contrast.rated import Rated
from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.correlate import Correlates, coefficients, correlate
from localprobe.probing.fitting import probe_of
from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True)
class AtLayer:
    """Coefficients at one layer: to see how much the choice of a layer matters, not to choose one by."""

    layer: int
    pearson: float | None
    spearman: float | None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Ratings against the scores of one probe at its own layer, which was chosen without these texts."""

    layer: int
    threshold: float
    correlates: Correlates
    by_layer: tuple[AtLayer, ...]
    texts: tuple[Rated, ...]
    scores: tuple[float, ...]
    """Of each text, at `layer`."""

    def as_json(self) -> dict[str, Any]:
        """Everything; the texts by id, scenario and rating alone."""
        points = [
            {"id": text.id, "scenario": text.scenario, "rating": text.score, "score": score}
            for text, score in zip(self.texts, self.scores, strict=True)
        ]
        return {
            "layer": self.layer,
            "threshold": self.threshold,
            **asdict(self.correlates),
            "by_layer": [asdict(each) for each in self.by_layer],
            "points": points,
        }


def behaviour(vector: Vector, texts: Sequence[Rated], residuals: FloatArray, *, seed: int = 0) -> Behaviour:
    """Score rated texts: residuals (texts, layers, width) at the vector's layers in ascending order.

    Raises DataError for fewer than four texts, ratings or scores that do not vary, or residuals of other layers.
    """
    layers = sorted(vector.directions)
    probe = probe_of(vector, layers)
    if residuals.shape[1:] != probe.directions.shape:
        raise DataError(
            f"the rated texts have residuals {residuals.shape[1:]} and the probe {probe.directions.shape} (layers, "
            "width): they are of different models"
        )
    layer = vector.layer()
    scores = probe.scores(residuals)  # (texts, layers)
    own = scores[:, layers.index(layer)]
    ratings = [text.score for text in texts]
    threshold = vector.directions[layer].threshold
    return Behaviour(
        layer,
        threshold,
        correlate(ratings, own, threshold, seed=seed),
        tuple(AtLayer(b, *coefficients(ratings, scores[:, i])) for i, b in enumerate(layers)),
        tuple(texts),
        tuple(float(f"{score:.6g}") for score in own),
    )
