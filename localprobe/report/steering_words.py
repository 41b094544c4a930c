"""Figures of a verdict as words; nothing differs unless the interval of the difference leaves out 0."""

from __future__ import annotations

from localprobe.experiments.dose_response import Estimate
from localprobe.report.steering_arms import Result
from localprobe.stats.rates import Rate


def above(found: Estimate | None) -> bool:
    """Whether a difference lies above 0."""
    return found is not None and found.interval[0] > 0


def below(found: Estimate | None) -> bool:
    """Whether a difference lies below 0."""
    return found is not None and found.interval[1] < 0


def goes(start: Rate | None, end: Rate | None) -> str:
    """`goes from 20% to 80%`."""
    return f"goes from {start.share:.0%} to {end.share:.0%}" if start and end else "changes"


def points(found: Estimate, way: int = 1) -> str:
    """`+50 points, +30 to +68`; a difference that was turned round by `way` is turned back."""
    return f"{signed(found, way)} points, {span(found, way)}"


def signed(found: Estimate, way: int = 1) -> str:
    """`+50`, in points of a hundred."""
    return f"{round(100 * way * found.value):+d}"


def span(found: Estimate, way: int = 1) -> str:
    """`+30 to +68`."""
    low, high = sorted(way * end for end in found.interval)
    return f"{round(100 * low):+d} to {round(100 * high):+d}"


def share(found: Rate | Result | None) -> str:
    """`65% (54% to 75%)`."""
    if found is None:
        return "not known"
    if isinstance(found, Rate):
        share, (low, high) = found.share, found.interval
    else:
        share, low, high = found["share"], found["low"], found["high"]
    return f"{share:.0%} ({low:.0%} to {high:.0%})"
