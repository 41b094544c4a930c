"""Shares with 95 % intervals: Wilson's (1927), widened where the items counted are correlated within groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localprobe.stats.intervals import Interval, wilson


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of a number of items, with its 95 % interval."""

    share: float
    """In [0, 1]."""
    low: float
    high: float
    of: int
    """Number of items; at least 1."""

    @property
    def count(self) -> int:
        """Number of items counted."""
        return round(self.share * self.of)

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.share:.0%} ({self.low:.0%} to {self.high:.0%})"


def rate(count: int, of: int) -> Rate:
    """A share of independent items."""
    return Rate(count / of, *wilson(count / of, of), of)


def grouped_rate(groups: Sequence[tuple[int, int]]) -> Rate:
    """A share of items in groups, each (count, of). Items of one group are correlated, as cells that share a baseline.

    The interval is that of fewer independent items: their number is divided by the design effect (Kish 1965), the
    variance of the share between groups over that of independent items, or by 1 if that is less.
    """
    count, of = sum(group[0] for group in groups), sum(group[1] for group in groups)
    share, k = count / of, len(groups)
    independent = share * (1 - share) / of
    design = 1.0
    if k > 1 and independent > 0:
        between = sum((counted - size * share) ** 2 for counted, size in groups) / of**2 * k / (k - 1)
        design = max(1.0, between / independent)
    return Rate(share, *wilson(share, of / design), of)
