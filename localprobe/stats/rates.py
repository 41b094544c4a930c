"""Shares with 95 % intervals: Wilson's (1927), made wider where the things counted go together in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from localprobe.stats.intervals import Interval

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of a number of things, with its 95 % interval."""

    share: float
    """In [0, 1]."""
    low: float
    high: float
    of: int
    """How many things there are; at least 1."""

    @property
    def count(self) -> int:
        """How many of them were counted."""
        return round(self.share * self.of)

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.share:.0%} ({self.low:.0%} to {self.high:.0%})"


def rate(count: int, of: int) -> Rate:
    """A share of independent things; at least one."""
    return Rate(count / of, *_wilson(count / of, of), of)


def grouped_rate(groups: Sequence[tuple[int, int]]) -> Rate:
    """A share of things in groups, each (count, of): cells of one curve, which share a baseline, are not independent.

    The interval is that of fewer independent things: their number is divided by the design effect, the variance of the
    share with whole groups as the unit over that of independent things (Kish 1965), and by at least 1.
    """
    count, of = sum(group[0] for group in groups), sum(group[1] for group in groups)
    share, k = count / of, len(groups)
    independent = share * (1 - share) / of
    design = 1.0
    if k > 1 and independent > 0:
        between = sum((got - size * share) ** 2 for got, size in groups) / of**2 * k / (k - 1)
        design = max(1.0, between / independent)
    return Rate(share, *_wilson(share, of / design), of)


def _wilson(share: float, number: float) -> Interval:
    centre = (share + _Z**2 / number / 2) / (1 + _Z**2 / number)
    half = _Z / (1 + _Z**2 / number) * sqrt(share * (1 - share) / number + _Z**2 / number**2 / 4)
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)
