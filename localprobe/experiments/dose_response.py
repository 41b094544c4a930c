"""Dose-response: how the rate of a pole's language depends on the strength, and which strengths are usable.

Strengths here have a sign: alphas or doses. `ablation` has the dose-response of what has none. Intervals are 95 %, by
the bootstrap of `draws`.

In simulations (5 samples, 9 strengths, 3 or 10 prompts alike or not, 1 or 3 layers) the slope's covers in 93 to 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.experiments.curves import Condition, Curve
from localprobe.experiments.draws import Draws, Line, slope, spearman
from localprobe.stats.arrays import Array
from localprobe.stats.estimates import Estimate
from localprobe.stats.rates import Rate, grouped_rate

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """One curve, or several together: each figure is then a mean over curves.

    `up`, `down` and `asymmetry` are over the strengths that occur with both signs; None if there is none.
    """

    slope: Estimate
    """Least squares of rate on alpha, each strength counting once: change of rate for one unit of alpha."""
    monotonicity: Estimate
    """Spearman's correlation of alpha and rate, in [-1, 1]; 0 where the rate never changes."""
    wrong_way: Rate
    """Curves with a slope below 0: prompts steered the wrong way."""
    usable: tuple[float, float] | None
    """The widest range of alpha around 0 in which at every strength more than half of the samples are coherent and not
    degenerate; None if that fails at 0 already."""
    up: Estimate | None
    """Mean effect at alpha > 0: above 0 if steering towards the positive pole works."""
    down: Estimate | None
    """Mean of -effect at alpha < 0: above 0 if steering away from it works."""
    asymmetry: Estimate | None
    """up - down: above 0 if raising works better than lowering. A baseline near 1 leaves no room to raise, and one
    near 0 none to lower."""


def dose_response(curves: Sequence[Curve], *, resamples: int = 2000, seed: int = 0) -> DoseResponse:
    """Measure at least one curve; the same for the same seed, whatever the order of the samples."""
    lines = _lines(curves)
    draws = Draws(lines, resamples, seed)
    slopes: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        slopes.setdefault(line.prompt, []).append(float(slope(line.xs, line.rates)))
    both_ways = [line for line in lines if _matched(line.xs).any()]
    two_ways = Draws(both_ways, resamples, seed) if both_ways else None
    return DoseResponse(
        slope=draws.estimate(slope),
        monotonicity=draws.estimate(spearman, 1),
        wrong_way=grouped_rate([(sum(one < -_ROUNDING for one in prompt), len(prompt)) for prompt in slopes.values()]),
        usable=usable_range(condition for curve in curves for condition in curve.conditions),
        up=two_ways.estimate(_up, 1) if two_ways else None,
        down=two_ways.estimate(_down, 1) if two_ways else None,
        asymmetry=two_ways.estimate(_asymmetry, 2) if two_ways else None,
    )


def usable_range(conditions: Iterable[Condition]) -> tuple[float, float] | None:
    """See `DoseResponse.usable`; samples of equal alpha are pooled."""
    counts: dict[float, tuple[int, int]] = {}
    for condition in conditions:
        usable, samples = counts.get(condition.alpha, (0, 0))
        counts[condition.alpha] = usable + condition.usable, samples + condition.samples
    alphas = sorted(counts)
    good = [2 * counts[alpha][0] > counts[alpha][1] for alpha in alphas]
    low = high = alphas.index(0.0)
    if not good[low]:
        return None
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(alphas) - 1 and good[high + 1]:
        high += 1
    return alphas[low], alphas[high]


def _lines(curves: Sequence[Curve]) -> list[Line]:
    return [
        Line(
            (curve.model, curve.scenario),
            tuple(condition.alpha for condition in curve.conditions),
            curve.conditions,
        )
        for curve in curves
    ]


def _matched(alphas: Array) -> NDArray[np.bool_]:
    """Where an alpha other than 0 has its opposite."""
    return np.asarray((alphas != 0) & np.isin(-alphas, alphas))


def _up(alphas: Array, rates: Array) -> Array:
    raised = rates[..., _matched(alphas) & (alphas > 0)].mean(axis=-1)
    return np.asarray(raised - rates[..., alphas == 0][..., 0])


def _down(alphas: Array, rates: Array) -> Array:
    lowered = rates[..., _matched(alphas) & (alphas < 0)].mean(axis=-1)
    return np.asarray(rates[..., alphas == 0][..., 0] - lowered)


def _asymmetry(alphas: Array, rates: Array) -> Array:
    return _up(alphas, rates) - _down(alphas, rates)
