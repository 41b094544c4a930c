"""Figures of a verdict as words; nothing differs unless the interval of the difference excludes 0."""

from __future__ import annotations

from localprobe.stats.estimates import Estimate
from localprobe.stats.rates import Rate


def above(difference: Estimate | None) -> bool:
    """Whether a difference lies above 0."""
    return difference is not None and difference.low > 0


def below(difference: Estimate | None) -> bool:
    """Whether a difference lies below 0."""
    return difference is not None and difference.high < 0


def goes(start: Rate | None, end: Rate | None) -> str:
    """`goes from 20% to 80%`."""
    return f"goes from {start.share:.0%} to {end.share:.0%}" if start and end else "changes"


def points(difference: Estimate, way: int = 1) -> str:
    """`+50 points, +30 to +68`; `way` -1 changes its sign."""
    return f"{signed(difference, way)} points, {span(difference, way)}"


def signed(difference: Estimate, way: int = 1) -> str:
    """`+50`, in points of a hundred."""
    return f"{round(100 * way * difference.value):+d}"


def span(difference: Estimate, way: int = 1) -> str:
    """`+30 to +68`."""
    low, high = sorted(way * end for end in difference.interval)
    return f"{round(100 * low):+d} to {round(100 * high):+d}"
