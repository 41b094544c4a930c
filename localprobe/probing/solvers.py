"""The four methods as linear algebra in the span of the training texts.

Each takes the texts' coordinates (2 * pairs, rank), first the positive ones, and `signs` (labellings, pairs), -1 where
the two texts of a pair are swapped, and returns weights (labellings, rank). A fit is one labelling of ones; a
permutation test is a thousand labellings at once, by the same code.
"""

from __future__ import annotations

import numpy as np

from localprobe.stats.arrays import Array

_STEPS = 5000
_TOLERANCE = 1e-5  # leaves a cosine of 1 - 1e-8 to the exact solution


def labels(signs: Array) -> Array:
    """+1 or -1 for each text: (labellings, pairs) -> (labellings, 2 * pairs)."""
    return np.concatenate([signs, -signs], axis=1)


def mean_difference(coordinates: Array, signs: Array, width: int) -> Array:
    """Difference of the two means (equation 1 of the paper)."""
    return np.asarray(labels(signs) @ coordinates / signs.shape[1])


def first_component(coordinates: Array, signs: Array, width: int) -> Array:
    """First principal component of the pair differences, with the sign for which most positive texts score higher.

    Differences are not centred, because their mean is the signal. Swapping a pair only changes a sign.
    """
    pairs = signs.shape[1]
    differences = coordinates[:pairs] - coordinates[pairs:]  # (pairs, rank)
    axis = np.linalg.svd(differences, full_matrices=False)[2][0]  # (rank,)
    return np.asarray(np.where(signs @ differences @ axis < 0, -1.0, 1.0)[:, None] * axis)


def whitened(coordinates: Array, signs: Array, width: int) -> Array:
    """Linear discriminant analysis: the mean difference times the inverse of the within-class covariance.

    The covariance is shrunk towards a multiple of the identity by the share of Ledoit and Wolf (2004), computed over
    all `width` dimensions. Adding the between-class part to it changes the length of the result and not its direction
    (Sherman and Morrison), so that it stays diagonal here, whatever the labels.
    """
    texts = len(coordinates)
    variances = (coordinates**2).sum(axis=0)  # (rank,) times texts
    sums = labels(signs) @ coordinates  # (labellings, rank)
    between = (sums**2).sum(axis=1)  # (labellings,)
    lengths = (coordinates**2).sum(axis=1) - (2 * labels(signs) * (sums @ coordinates.T) - between[:, None] / texts) / (
        texts
    )  # (labellings, texts): squared lengths of the texts about their own class's mean
    trace = np.maximum(variances.sum() - between / texts, 0) / texts
    square = (variances**2).sum() - 2 * (sums**2 @ variances) / texts + (between / texts) ** 2
    square = np.maximum(square, 0) / texts**2  # squared Frobenius norm of the within-class covariance
    excess = square - trace**2 / width
    noise = np.clip(((lengths**2).sum(axis=1) / texts - square) / texts, 0, excess)
    share = np.divide(noise, excess, out=np.ones_like(excess), where=excess > 0)  # (labellings,)
    shrunk = np.outer((1 - share) / texts, variances) + (share * trace / width)[:, None]
    shrunk[trace <= 1e-12 * variances.sum() / texts] = 1  # no spread within the classes: nothing to whiten
    return np.asarray(sums / shrunk)


def logistic(coordinates: Array, signs: Array, width: int) -> Array:
    """L2-regularised logistic regression (C = 1) with a free intercept, as scikit-learn's.

    Accelerated gradient steps scaled by the bound 1/4 on the logistic curvature (Böhning and Lindsay 1988), which is
    diagonal here; Nesterov's momentum, dropped in each labelling when it points uphill (O'Donoghue and Candès 2015).
    """
    targets = labels(signs)  # (labellings, texts)
    features = np.column_stack([coordinates, np.ones(len(coordinates))])  # the last one is the intercept
    penalty = np.append(np.ones(coordinates.shape[1]), 0.0)
    scale = np.sqrt((features**2).sum(axis=0) / 4 + penalty)  # in these units a step of 1 is always safe
    features, penalty = features / scale, penalty / scale**2
    weights = np.zeros((len(signs), features.shape[1]))
    ahead, age = weights, np.ones(len(signs))
    for _ in range(_STEPS):
        wrong = (1 - np.tanh(targets * (ahead @ features.T) / 2)) / 2  # probability of the other label
        slope = penalty * ahead - (targets * wrong) @ features
        new = ahead - slope
        moved = new - weights
        uphill = np.einsum("ij,ij->i", slope, moved) > 0
        older = (1 + np.sqrt(1 + 4 * age**2)) / 2
        momentum = np.where(uphill, 0, (age - 1) / older)
        age = np.where(uphill, 1, older)
        weights, ahead = new, new + momentum[:, None] * moved
        if np.abs(slope).max() <= _TOLERANCE:
            break
    return np.asarray(weights[:, :-1] / scale[:-1])
