"""Random directions on the same texts (the paper's Figure 2): in some spaces nearly any direction separates the
poles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.stats.auroc import aurocs


@dataclass(frozen=True, slots=True)
class RandomDirections:
    """AUROC of random unit vectors at one layer; none is flipped, so their mean is near 0.5."""

    aurocs: tuple[float, ...]
    mean: float
    std: float
    """Population standard deviation, as in the paper's 0.50 +- 0.24."""
    percentile_95: float
    z: float | None
    """(the probe's AUROC - mean) / std; None if they do not vary."""
    percentile: float
    """Percentage of them that the probe beats; ties count half."""


def random_directions(
    positive: FloatArray, negative: FloatArray, probe: list[float], *, count: int = 100, seed: int = 0
) -> tuple[RandomDirections, ...]:
    """Random directions at every layer of the test residuals (pairs, layers, width), against the probe's AUROC
    there."""
    random = np.random.default_rng(seed)
    layers = []
    for b, reached in enumerate(probe):
        vectors = random.standard_normal((positive.shape[2], count), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=0)
        areas = aurocs((positive[:, b] @ vectors).T, (negative[:, b] @ vectors).T)  # (count,)
        mean, std = float(areas.mean()), float(areas.std())
        layers.append(
            RandomDirections(
                aurocs=tuple(areas.tolist()),
                mean=mean,
                std=std,
                percentile_95=float(np.quantile(areas, 0.95)),
                z=(reached - mean) / std if std else None,
                percentile=float(100 * ((areas < reached).mean() + (areas == reached).mean() / 2)),
            )
        )
    return tuple(layers)
