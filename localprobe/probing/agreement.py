"""Whether the pairs agree on a direction: an early warning that needs no test texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.probing.methods import fit_layer, method_of

_HALVINGS = 5


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Agreement of the training pairs at one layer."""

    pairs: float
    """Mean cosine between the differences (positive - negative) of two pairs: 0 if each pair points its own way."""
    halves: float | None
    """Mean cosine between the directions fitted on two halves of the pairs; None for fewer than four pairs."""


def agreement(
    positive: FloatArray, negative: FloatArray, *, method: str = "mean-difference", seed: int = 0
) -> tuple[PairAgreement, ...]:
    """Agreement at every layer, of residuals (pairs, layers, width) of at least two pairs."""
    return tuple(
        PairAgreement(
            _pairs(positive[:, b], negative[:, b]),
            _halves(positive[:, b], negative[:, b], method, seed) if len(positive) >= 4 else None,
        )
        for b in range(positive.shape[1])
    )


def _pairs(positive: FloatArray, negative: FloatArray) -> float:
    differences = positive.astype(np.float64) - negative  # (pairs, width)
    lengths = np.linalg.norm(differences, axis=1, keepdims=True)
    units = differences / np.where(lengths > 0, lengths, 1)
    count = len(units)
    return float(((units.sum(axis=0) ** 2).sum() - (units**2).sum()) / (count * (count - 1)))


def _halves(positive: FloatArray, negative: FloatArray, method: str, seed: int) -> float:
    random = np.random.default_rng(seed)
    cosines = []
    for _ in range(_HALVINGS):
        order = random.permutation(len(positive))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        first, second = (fit_layer(positive[half], negative[half], method_of(method))[0] for half in halves)
        cosines.append(float(first @ second))
    return float(np.mean(cosines))
