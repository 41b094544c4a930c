"""Comparing the residuals of two engines, or of two loads of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localprobe.capture.residuals import capture
from localprobe.engine import Engine, FloatArray
from localprobe.errors import UsageError


@dataclass(frozen=True, slots=True)
class LayerAgreement:
    """Similarity of the residuals of one layer on two engines."""

    layer: int
    pooled: float
    """Lowest cosine over texts, of mean-pooled residuals."""
    token: float
    """Lowest cosine over tokens."""


def residuals(engine: Engine, texts: Sequence[str], *, limit: int | None = None) -> list[FloatArray]:
    """Residuals of every layer and token: (layers, n, width) for each text, cut to `limit` tokens."""
    rows: list[FloatArray] = [np.empty(0, np.float32)] * len(texts)
    for captured in capture(engine, texts, range(engine.info.layers), "tokens", limit=limit):
        rows[captured.index] = captured.residuals
    return rows


def compare(a: Sequence[FloatArray], b: Sequence[FloatArray]) -> list[LayerAgreement]:
    """Agreement per layer of the `residuals` of the same texts. UsageError if tokens or models differ."""
    if [x.shape for x in a] != [x.shape for x in b]:
        raise UsageError("the two engines split the texts into different tokens, or hold different models")
    return [
        LayerAgreement(
            layer,
            min(float(cosine(x[layer].mean(axis=0), y[layer].mean(axis=0))) for x, y in zip(a, b, strict=True)),
            min(float(cosine(x[layer], y[layer]).min()) for x, y in zip(a, b, strict=True)),
        )
        for layer in range(a[0].shape[0])
    ]


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cosine along the last axis."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / lengths)
