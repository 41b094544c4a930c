"""Correlation of probe scores with rated behaviour (Figure 5), and a yes-or-no reading (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import DataError
from localprobe.probing.binary import Binary, binary
from localprobe.stats.arrays import Array
from localprobe.stats.intervals import Interval

_EXACT = 400_000  # arrangements: 9 ratings that all differ, or 14 of three levels
_CHUNK = 50_000
_EDGE = 0.9999  # where Fisher's z is cut off


@dataclass(frozen=True, slots=True)
class Correlation:
    """One coefficient."""

    value: float
    p: float
    """Two-sided, from the permutation distribution."""
    exact: bool
    """Whether the distribution covers all arrangements of the ratings, or random ones."""
    p_theory: float
    """From the t distribution, as the paper and scipy give it."""
    interval: Interval
    """95 %, by bootstrap over texts on the scale of Fisher's z, and never narrower than Fisher's own: a bootstrap of a
    nearly perfect result has no variance."""


@dataclass(frozen=True, slots=True)
class Correlates:
    """Probe scores against ratings."""

    n: int
    pearson: Correlation
    spearman: Correlation
    binary: Binary


def correlate(
    ratings: Sequence[float],
    scores: NDArray[np.floating],
    threshold: float,
    *,
    resamples: int = 2000,
    permutations: int = 20_000,
    seed: int = 0,
) -> Correlates:
    """Correlate the ratings of texts with their scores (texts,); `threshold` is the probe's.

    p is exact where there are few enough arrangements of the ratings; else from `permutations` random ones. Raises
    DataError for fewer than four texts, lengths that differ, numbers that are not finite, or ratings or scores that do
    not vary.
    """
    x, y = np.asarray(ratings, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    _check(x, y)
    from scipy.stats import pearsonr, rankdata, spearmanr

    correlations = [
        Correlation(
            value=float(correlation(a, b)),
            p=_p_value(a, b, permutations, seed),
            exact=_arrangements(a) <= _EXACT,
            p_theory=float(theory(x, y).pvalue),
            interval=_interval(x, y, rank, resamples, seed),
        )
        for a, b, theory, rank in (
            (x, y, pearsonr, lambda values: values),
            (rankdata(x), rankdata(y), spearmanr, lambda values: rankdata(values, axis=-1)),
        )
    ]
    return Correlates(len(x), correlations[0], correlations[1], binary(x, y, threshold))


def coefficients(ratings: Sequence[float], scores: NDArray[np.floating]) -> tuple[float | None, float | None]:
    """Pearson's r and Spearman's rho, without intervals; None if ratings or scores do not vary."""
    from scipy.stats import rankdata

    x, y = np.asarray(ratings, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    values = float(correlation(x, y)), float(correlation(rankdata(x), rankdata(y)))
    return values if np.isfinite(values).all() else (None, None)


def _check(ratings: Array, scores: Array) -> None:
    if ratings.shape != scores.shape or ratings.ndim != 1:
        raise DataError(f"{ratings.size} ratings and {scores.size} scores: each text needs both")
    if len(ratings) < 4:
        raise DataError(f"{len(ratings)} rated texts: a correlation takes at least 4, and better 12")
    for name, values in (("ratings", ratings), ("scores", scores)):
        if not np.isfinite(values).all():
            raise DataError(f"the {name} of text {int(np.isfinite(values).argmin()) + 1} is not a finite number")
        if np.ptp(values) == 0:
            raise DataError(f"all {len(values)} {name} are {values[0]:g}: constants have no correlation")


def correlation(a: Array, b: Array) -> Array:
    """Pearson's r along the last axis; NaN where one does not vary."""
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    lengths = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.asarray(
        np.divide((a * b).sum(axis=-1), lengths, out=np.full_like(lengths, np.nan), where=lengths > 1e-12)
    )


def _p_value(ratings: Array, scores: Array, permutations: int, seed: int) -> float:
    """Share of the arrangements of the ratings whose correlation is at least as far from 0."""
    exact = _arrangements(ratings) <= _EXACT
    centred = scores - scores.mean()
    observed = abs(float(ratings @ centred)) * (1 - 1e-9)  # rounding must not separate equal arrangements
    arrangements = _every(ratings) if exact else _some(ratings, permutations, seed)
    as_far = count = 0
    for chunk in arrangements:
        as_far += int((np.abs(chunk @ centred) >= observed).sum())
        count += len(chunk)
    return as_far / count if exact else (1 + as_far) / (1 + count)


def _arrangements(ratings: Array) -> int:
    counts = np.unique(ratings, return_counts=True)[1]
    return factorial(len(ratings)) // prod(factorial(int(count)) for count in counts)


def _every(ratings: Array) -> Iterator[Array]:
    """All distinct arrangements (arrangements, texts)."""
    levels, counts = np.unique(ratings, return_counts=True)
    places = np.full((1, len(ratings)), levels[-1])
    free = np.arange(len(ratings))[None]  # (arrangements, places left)
    for level, count in zip(levels[:-1], counts[:-1], strict=True):
        choices = np.array(list(combinations(range(free.shape[1]), int(count))))  # (choices, count)
        unfilled = np.ones((len(choices), free.shape[1]), dtype=bool)
        np.put_along_axis(unfilled, choices, False, axis=1)
        rest = np.nonzero(unfilled)[1].reshape(len(choices), -1)  # (choices, places left after it)
        places = np.repeat(places, len(choices), axis=0)
        filled = free[:, choices].reshape(len(places), -1)
        np.put_along_axis(places, filled, level, axis=1)
        free = free[:, rest].reshape(len(places), -1)
    yield places


def _some(ratings: Array, permutations: int, seed: int) -> Iterator[Array]:
    random = np.random.default_rng(seed)
    for start in range(0, permutations, _CHUNK):
        count = min(_CHUNK, permutations - start)
        yield random.permuted(np.tile(ratings, (count, 1)), axis=1)


def _interval(ratings: Array, scores: Array, rank: Callable[[Array], Array], resamples: int, seed: int) -> Interval:
    from scipy.special import stdtrit

    n = len(ratings)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    values = correlation(rank(ratings[drawn]), rank(scores[drawn]))
    error = np.arctanh(np.clip(values[np.isfinite(values)], -_EDGE, _EDGE)).std()
    half = max(-float(stdtrit(n - 1, 0.025)) * float(error), 1.96 / np.sqrt(n - 3))
    observed = float(correlation(rank(ratings), rank(scores)))
    centre = np.arctanh(np.clip(observed, -_EDGE, _EDGE))
    return min(float(np.tanh(centre - half)), observed), max(float(np.tanh(centre + half)), observed)
