"""Contrast pairs with a concept planted in them."""

from __future__ import annotations

import numpy as np

from localprobe.engine import FloatArray


def planted(
    strengths: list[float], *, pairs: int = 200, width: int = 16, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Poles (pairs, layers, width) of unit noise whose means differ by a strength at each layer, and the unit
    directions (layers, width) that they differ along."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((len(strengths), width))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    noise = random.standard_normal((2, pairs, len(strengths), width))
    noise[0] += np.array(strengths)[:, None] * directions
    positive, negative = noise.astype(np.float32)
    return positive, negative, directions.astype(np.float32)
