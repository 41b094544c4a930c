"""Whether two models, engines or quantisations score the same texts alike (the paper's Table 2 and Figure 4, extended).

Two probes that both separate the poles agree for that reason alone. So agreement is also measured within the poles,
after subtracting each pole's mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.correlate import correlation
from localprobe.stats.arrays import Array
from localprobe.stats.intervals import Interval

Scores = tuple[FloatArray, FloatArray]
"""Scores (pairs,) of the positive and of the negative texts."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Correlation of two probes' scores, with a 95 % interval by bootstrap over pairs; None where one does not vary."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class ScoreAgreement:
    """Two probes on the same texts."""

    pearson: Likeness
    spearman: Likeness
    within_poles: Likeness
    """Pearson's r after subtracting each pole's mean."""


def score_agreement(first: Scores, second: Scores, *, resamples: int = 2000, seed: int = 0) -> ScoreAgreement:
    """Compare the scores of the same pairs by two probes. DataError if they are not of the same number of pairs."""
    poles = [np.stack(scores).astype(np.float64) for scores in (first, second)]  # (2 poles, pairs)
    if poles[0].shape != poles[1].shape:
        raise DataError(f"scores of {poles[0].shape[1]} and of {poles[1].shape[1]} pairs: compare the same texts")
    pairs = poles[0].shape[1]
    drawn = np.random.default_rng(seed).integers(0, pairs, (resamples, pairs))

    def likeness(prepare: Callable[[Array], Array]) -> Likeness:
        observed = correlation(*(prepare(p[:, None]) for p in poles))[0]
        if not np.isfinite(observed):
            return Likeness(None, None)
        values = correlation(*(prepare(p[:, drawn]) for p in poles))
        low, high = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
        return Likeness(float(observed), (min(float(low), float(observed)), max(float(high), float(observed))))

    return ScoreAgreement(likeness(_together), likeness(_ranks), likeness(_centred))


def direction_agreement(first: FloatArray, second: FloatArray) -> tuple[float, ...] | None:
    """Cosine of two probes' unit directions (layers, width) at each layer.

    None if their shapes differ, as those of different models do: a direction is only meaningful in its own residual
    stream.
    """
    if first.shape != second.shape:
        return None
    return tuple((first.astype(np.float64) * second).sum(axis=-1).tolist())


def _together(poles: Array) -> Array:
    """(2, resamples, pairs) -> (resamples, 2 * pairs)."""
    return np.concatenate([poles[0], poles[1]], axis=-1)


def _ranks(poles: Array) -> Array:
    from scipy.stats import rankdata

    return np.asarray(rankdata(_together(poles), axis=-1))


def _centred(poles: Array) -> Array:
    return _together(poles - poles.mean(axis=-1, keepdims=True))
