"""Figures with 95 % intervals, and means with intervals by Student's t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from localprobe.stats.intervals import Interval

_LARGEST = 700.0
"""The exponential of a larger number overflows a float."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its 95 % interval."""

    value: float
    low: float | None
    """None, as `high` is, for the mean of a single value."""
    high: float | None
    of: int
    """Number of values."""

    @property
    def interval(self) -> Interval | None:
        """(low, high)."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def mean(values: Sequence[float | None]) -> Mean | None:
    """The mean of the values that are not None, with an interval by Student's t; None if there are none."""
    measured = [value for value in values if value is not None]
    if not measured:
        return None
    value = float(np.mean(measured))
    if len(measured) < 2:
        return Mean(value, None, None, 1)
    half = _student(len(measured) - 1) * float(np.std(measured, ddof=1)) / sqrt(len(measured))
    return Mean(value, value - half, value + half, len(measured))


def geometric_ratio(logs: Sequence[float], others: Sequence[float]) -> Mean | None:
    """The geometric mean of one group over that of another, both given as logarithms, with Welch's interval for the
    difference of the mean logarithms; None if either group is empty."""
    if not logs or not others:
        return None
    difference = float(np.mean(logs) - np.mean(others))
    if min(len(logs), len(others)) < 2:
        return Mean(bounded_exp(difference), None, None, len(logs))
    errors = [float(np.var(group, ddof=1)) / len(group) for group in (logs, others)]
    spread = sum(errors)
    freedom = spread**2 / sum(e**2 / (len(x) - 1) for e, x in zip(errors, (logs, others), strict=True)) if spread else 1
    half = _student(freedom) * sqrt(spread) if spread else 0.0
    low, high = bounded_exp(difference - half), bounded_exp(difference + half)
    return Mean(bounded_exp(difference), low, high, len(logs))


def bounded_exp(value: float) -> float:
    """exp(`value`), with `value` limited to 700 so that the result is finite."""
    return exp(min(value, _LARGEST))


def _student(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
