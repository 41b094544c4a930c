"""A permutation test of the whole procedure: fit, choice of the layer, and measure on the test pairs.

Under the null hypothesis, swapping the two texts of a pair changes nothing. So the texts of random pairs are swapped,
in training and test alike; then the probe is fitted again, its layer is chosen again inside the training pairs, and the
AUROC at that layer is measured again. A test that kept the layer would be too easy to pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.probing.choice import best_layers, cross_validate, scored
from localprobe.probing.methods import method_of
from localprobe.probing.probe import check_poles
from localprobe.stats.arrays import Array
from localprobe.stats.auroc import aurocs


@dataclass(frozen=True, slots=True)
class Permutation:
    """The result of a permutation test."""

    p: float
    """(1 + permutations that did as well) / (1 + n): never 0, because the original labelling counts as one."""
    n: int
    statistic: float
    """AUROC on the test pairs at the layer chosen inside the training pairs."""
    chance_95: float
    """95th percentile of that AUROC over the permutations."""


def permutation_test(
    train: tuple[FloatArray, FloatArray],
    test: tuple[FloatArray, FloatArray],
    *,
    method: str = "mean-difference",
    permutations: int = 1000,
    seed: int = 0,
) -> Permutation:
    """Test whether the poles can be separated at all; each argument is both poles (pairs, layers, width).

    `seed` also deals the folds, as it does in `choose_layer`: the first labelling repeats the original fit. Raises
    DataError for residuals that cannot be fitted.
    """
    check_poles(*train)
    check_poles(*test, least=1)
    signs, flips = _signs(len(train[0]), len(test[0]), permutations, seed)
    areas, gaps = cross_validate(*train, method=method, seed=seed, signs=signs)
    best = best_layers(areas, gaps)  # (labellings,)
    areas_at_best = np.empty(len(signs))
    for b in np.unique(best):
        rows = best == b
        learnt, unseen = (train[0][:, b], train[1][:, b]), (test[0][:, b], test[1][:, b])
        areas_at_best[rows] = aurocs(*scored(learnt, unseen, method_of(method), signs[rows], flips[rows]))
    return _against(areas_at_best)


def flip_test(positive: FloatArray, negative: FloatArray, *, permutations: int = 1000, seed: int = 0) -> Permutation:
    """The same for a probe and layer that are given: only the scores (pairs,) of the test pairs are swapped."""
    _, flips = _signs(0, len(positive), permutations, seed)
    unswapped = flips > 0
    areas = aurocs(np.where(unswapped, positive, negative), np.where(unswapped, negative, positive))
    return _against(areas)


def _against(areas: Array) -> Permutation:
    """The first AUROC (1 + permutations,) against the rest."""
    n = len(areas) - 1
    p = (1 + int((areas[1:] >= areas[0]).sum())) / (1 + n)
    return Permutation(p, n, float(areas[0]), float(np.quantile(areas[1:], 0.95)))


def _signs(train: int, test: int, permutations: int, seed: int) -> tuple[Array, Array]:
    """-1 where a pair's texts are swapped, (1 + permutations, pairs) each; the first row swaps none."""
    random = np.random.default_rng([seed, 1])  # a separate stream: the folds use the seed alone
    signs = random.integers(0, 2, (1 + permutations, train + test)).astype(np.float64) * 2 - 1
    signs[0] = 1
    return signs[:, :train], signs[:, train:]
