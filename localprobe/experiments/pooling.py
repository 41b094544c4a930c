"""Pooling several conditions of a sweep: shares, and means of the measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import exp, log
from typing import Literal, TypeAlias

from localprobe.experiments.points import Measures, Point
from localprobe.experiments.result import CurvePoints
from localprobe.stats.estimates import Mean
from localprobe.stats.rates import Rate, grouped_rate

Grouped: TypeAlias = tuple[object, Point]
"""A condition with a signed strength and the group it belongs to, such as its prompt."""
GroupedMeasures: TypeAlias = tuple[object, Measures]
"""The same of any condition."""


def by_strength(
    curves: Iterable[CurvePoints],
    strength: Callable[[Point], float],
    group: Callable[[CurvePoints], object] = lambda curve: curve.key,
) -> dict[float, list[Grouped]]:
    """The conditions of some curves at each strength, ascending, each with its group: its prompt, or what `group`
    returns."""
    strengths: dict[float, list[Grouped]] = {}
    for curve in curves:
        for point in curve.points:
            strengths.setdefault(strength(point), []).append((group(curve), point))
    return dict(sorted(strengths.items()))


def pooled(points: Iterable[GroupedMeasures], measure: Literal["rate", "coherent", "degenerate"]) -> Rate:
    """A share over at least one condition; the interval treats a group as the unit."""
    groups: dict[object, tuple[int, int]] = {}
    for group, point in points:
        count, of = groups.get(group, (0, 0))
        rate: Rate = getattr(point, measure)
        groups[group] = count + rate.count, of + rate.of
    return grouped_rate(list(groups.values()))


def average(points: Sequence[GroupedMeasures], measure: Literal["score", "reading", "kl", "judge"]) -> float | None:
    """Mean over conditions; None if not measured."""
    measured = [value for _, point in points if (value := getattr(point, measure)) is not None]
    values = [value.value if isinstance(value, Mean) else value for value in measured]
    return sum(values) / len(values) if values else None


def perplexity_ratio(points: Sequence[GroupedMeasures]) -> float | None:
    """Geometric mean over conditions; None if not measured."""
    logs = [log(point.perplexity_ratio.value) for _, point in points if point.perplexity_ratio]
    return exp(sum(logs) / len(logs)) if logs else None
