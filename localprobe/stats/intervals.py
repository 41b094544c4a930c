"""95 % intervals of the measures, by bootstrap over pairs: the two texts of a pair are not independent.

They cover the sampling error of the test pairs; the probe is taken as fixed.

A percentile bootstrap gives a perfect AUROC the interval [1, 1], because no resample contains an error. So for AUROC
and accuracy the bootstrap only estimates the variance, and the interval is a score interval: the true values for which
the observed value lies within z standard errors. For accuracy it is Wilson's (1927); for AUROC, Newcombe's fifth method
(2006, Statistics in Medicine 25:559) with the variance of Hanley and McNeil (1982, Radiology 143:29). Both formulas
assume independent texts, so they are multiplied by the ratio of the bootstrap variance to their own. Near 1 that ratio
rests on the few misclassified texts, so it is blended with a prior ratio that weighs as much as one text.

In simulations (AUROC 0.55 to 0.99, 8 to 50 pairs, normal and exponential scores, equal and unequal spreads, independent
and correlated pairs) the AUROC interval covers in 91 to 98 %, in 95.7 % on average. A perfect AUROC on 15 pairs
gets [0.89, 1]. Alternatives were worse: DeLong's variance on the logit scale covers in 36 to 92 % at a true 0.99.

Separation: percentiles, widened to the t distribution (Hesterberg 2015, American Statistician 69:371). Standard
deviations: on the log scale, where they are nearer to normal; for long-tailed scores the interval is too short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.stats.arrays import Array
from localprobe.stats.auroc import auroc

Interval: TypeAlias = tuple[float, float]

_Z = 1.959964
# Hanley and McNeil's formula, made for exponential scores, overstates the variance near 1 for bell-shaped ones.
_PRIOR = {"auroc": 0.8, "accuracy": 1.0}
_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class Intervals:
    """(low, high) of each measure at one layer."""

    auroc: Interval
    accuracy: Interval
    separation: Interval
    std_positive: Interval
    std_negative: Interval


@dataclass(frozen=True, slots=True)
class Area:
    """An AUROC and its interval."""

    auroc: float
    interval: Interval | None
    """None for a single pair: nothing says how much another pair would differ."""


def bootstrap(
    positive: NDArray[np.floating],
    negative: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Intervals, ...]:
    """Intervals for every layer, of scores (pairs, layers) of both poles and thresholds (layers,); at least 2 pairs."""
    pairs = len(positive)
    weights = _resamples(pairs, resamples, seed)  # (resamples, pairs), each row adds up to 1
    high, low = positive.astype(np.float64), negative.astype(np.float64)
    right = ((high > thresholds) * 1.0 + (low <= thresholds)) / 2  # (pairs, layers)
    accuracy = _accuracy(right.mean(axis=0), (weights @ right).var(axis=0), pairs)
    areas = _auroc(high, low, weights)
    separation = _percentiles(weights @ (high - low), pairs)
    spreads = _spread(high, weights), _spread(low, weights)
    return tuple(
        Intervals(*((float(ends[0][b]), float(ends[1][b])) for ends in (areas, accuracy, separation, *spreads)))
        for b in range(high.shape[1])
    )


def auroc_interval(
    positive: NDArray[np.floating], negative: NDArray[np.floating], *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Interval of the AUROC of scores (pairs,), row i of both being one pair; at least 2 pairs."""
    weights = _resamples(len(positive), resamples, seed)
    low, high = _auroc(positive[:, None].astype(np.float64), negative[:, None].astype(np.float64), weights)
    return float(low[0]), float(high[0])


def unpaired_auroc_interval(area: float, positive: int, negative: int) -> Interval:
    """Interval of an AUROC of unpaired texts, given their number at each pole: Newcombe's fifth method unmodified."""
    low, high = _score_interval(np.array([area]), np.ones(1), positive, negative)
    return float(low[0]), float(high[0])


def wilson(share: float, of: float) -> Interval:
    """Wilson's score interval of a share of `of` independent items, which need not be a whole number."""
    low, high = _wilson(np.array(share), np.array(of))
    return float(low), float(high)


def _wilson(share: Array, of: Array) -> tuple[Array, Array]:
    centre = (share + _Z**2 / of / 2) / (1 + _Z**2 / of)
    half = _Z / (1 + _Z**2 / of) * np.sqrt(share * (1 - share) / of + _Z**2 / of**2 / 4)
    return np.minimum(np.maximum(centre - half, 0), share), np.maximum(np.minimum(centre + half, 1), share)


def area(
    positive: NDArray[np.floating], negative: NDArray[np.floating], *, resamples: int = 2000, seed: int = 0
) -> Area:
    """AUROC of scores (pairs,) with its interval, if there are two pairs or more."""
    interval = auroc_interval(positive, negative, resamples=resamples, seed=seed) if len(positive) > 1 else None
    return Area(auroc(positive, negative), interval)


def lead_interval(
    ours: tuple[NDArray[np.floating], NDArray[np.floating]],
    theirs: tuple[NDArray[np.floating], NDArray[np.floating]],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of the first AUROC minus the second, of scores (pairs,) of both poles of the same pairs."""
    weights = _resamples(len(ours[0]), resamples, seed)
    areas = [((weights @ _wins(*scores)) * weights).sum(axis=1) for scores in (ours, theirs)]
    low, high = _percentiles(areas[0] - areas[1], len(ours[0]))
    return float(low), float(high)


def _wins(high: NDArray[np.floating], low: NDArray[np.floating]) -> Array:
    """(pairs, pairs): 1 where the positive text of one pair scores above the negative text of another, 1/2 if equal."""
    return np.asarray((high[:, None] > low) + (high[:, None] == low) / 2)


def _resamples(pairs: int, resamples: int, seed: int) -> Array:
    return np.random.default_rng(seed).multinomial(pairs, np.full(pairs, 1 / pairs), resamples) / pairs


def _auroc(high: Array, low: Array, weights: Array) -> tuple[Array, Array]:
    """Lower and upper ends (layers,), of scores (pairs, layers)."""
    pairs, layers = high.shape
    observed, variance = np.empty(layers), np.empty(layers)
    for b in range(layers):
        wins = _wins(high[:, b], low[:, b])
        observed[b] = wins.mean()
        variance[b] = ((weights @ wins) * weights).sum(axis=1).var()
    formula = _hanley_mcneil(observed, pairs, pairs)
    return _score_interval(observed, _inflation(observed, variance, formula, pairs, "auroc"), pairs, pairs)


def _accuracy(observed: Array, variance: Array, pairs: int) -> tuple[Array, Array]:
    """Wilson's interval for the effective number of independent texts."""
    texts = 2 * pairs / _inflation(observed, variance, observed * (1 - observed) / (2 * pairs), pairs, "accuracy")
    return _wilson(observed, texts)


def _inflation(observed: Array, variance: Array, formula: Array, pairs: int, measure: str) -> Array:
    """Ratio of the bootstrap variance to that of the formula, blended with a prior where few texts are wrong."""
    variance = variance * pairs / (pairs - 1)  # a bootstrap underestimates it by this factor
    ratio = np.divide(variance, formula, out=np.ones_like(observed), where=formula > 0)
    information = 4 * pairs * observed * (1 - observed)
    return np.asarray((information * ratio + _PRIOR[measure]) / (information + 1))


def _hanley_mcneil(area: Array, positive: int, negative: int) -> Array:
    """Variance of an AUROC of independent texts, by their number at each pole, in Newcombe's symmetric form."""
    others = (positive + negative) / 2 - 1
    return np.asarray(
        area * (1 - area) * (1 + others * (1 - area) / (2 - area) + others * area / (1 + area)) / (positive * negative)
    )


def _score_interval(observed: Array, inflation: Array, positive: int, negative: int) -> tuple[Array, Array]:
    """The range of true areas within z standard errors of `observed`, the error being that of the true area."""

    def end(outside: Array) -> Array:
        inside = observed
        for _ in range(_BISECTIONS):
            middle = (outside + inside) / 2
            likely = (observed - middle) ** 2 <= _Z**2 * inflation * _hanley_mcneil(middle, positive, negative)
            inside, outside = np.where(likely, middle, inside), np.where(likely, outside, middle)
        return inside

    return end(np.zeros_like(observed)), end(np.ones_like(observed))


def _percentiles(resampled: Array, pairs: int) -> tuple[Array, Array]:
    from scipy.special import ndtr, stdtrit

    tail = float(ndtr(np.sqrt(pairs / (pairs - 1)) * stdtrit(pairs - 1, 0.025)))
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return low, high


def _spread(scores: Array, weights: Array) -> tuple[Array, Array]:
    """Interval of the standard deviation of scores (pairs, layers)."""
    from scipy.special import stdtrit

    scores = scores - scores.mean(axis=0)
    observed = scores.std(axis=0)
    variance = np.maximum(weights @ scores**2 - (weights @ scores) ** 2, 0)
    varied = variance > 1e-12 * observed**2  # the other resamples drew a single pair
    logs = np.log(variance, out=np.zeros_like(variance), where=varied) / 2
    count = np.maximum(varied.sum(axis=0), 1)
    mean = logs.sum(axis=0) / count
    error = np.sqrt((((logs - mean) ** 2) * varied).sum(axis=0) / count)
    half = -stdtrit(len(scores) - 1, 0.025) * error
    log_observed = np.log(np.where(observed > 0, observed, 1))
    centre = 2 * log_observed - mean  # corrects for the bias of the bootstrap, which equals that of our own estimate
    low, high = np.exp(np.minimum(centre - half, log_observed)), np.exp(np.maximum(centre + half, log_observed))
    return np.where(observed > 0, low, 0), np.where(observed > 0, high, 0)


def bracketed(value: float, interval: Interval | None, spec: str = ".2f", *, value_spec: str = "") -> str:
    """A figure and its interval as text: `0.93 [0.90, 0.96]`, or `0.93` without one. `spec` formats all three, unless
    the value has its own."""
    if interval is None:
        return f"{value:{value_spec or spec}}"
    low, high = interval
    return f"{value:{value_spec or spec}} [{low:{spec}}, {high:{spec}}]"
