"""Dose-response: how the rate of a pole's language depends on the strength, and which strengths are usable.

Intervals are 95 %, by a parametric bootstrap: the samples of each condition are drawn again from the rate
(k + 1/2) / (n + 1) for k of n, since drawing from the observed k / n would give no variance where all five agree. Over
several prompts the prompts are drawn as well, with replacement and all layers of one together, so that the interval
covers other prompts too, as far as a few can. Such draws are nearer to no effect than the observation is; so the
interval spans both their percentiles and the same percentiles centred on the observation.

In simulations (5 samples, 9 strengths, 3 or 10 prompts alike or not, 1 or 3 layers) the slope's covers in 93 to 100 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.experiments.curves import Condition, Curve
from localprobe.stats.arrays import Array
from localprobe.stats.estimates import Estimate
from localprobe.stats.rates import Rate, grouped_rate

_ROUNDING = 1e-12
_Statistic: TypeAlias = Callable[[Array, Array], Array]
"""Of alphas (strengths,) and rates (..., strengths)."""


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
    draws = _Draws(curves, resamples, seed)
    slopes: dict[tuple[str, str], list[float]] = {}
    for curve in curves:
        slopes.setdefault((curve.model, curve.scenario), []).append(float(_slope(_alphas(curve), _rates(curve))))
    both_ways = [curve for curve in curves if _matched(_alphas(curve)).any()]
    two_ways = _Draws(both_ways, resamples, seed) if both_ways else None
    return DoseResponse(
        slope=draws.estimate(_slope),
        monotonicity=draws.estimate(_spearman, 1),
        wrong_way=grouped_rate(
            [(sum(slope < -_ROUNDING for slope in prompt), len(prompt)) for prompt in slopes.values()]
        ),
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


class _Draws:
    """Rates that the conditions of some curves could have, and weights of the curves, for each resample."""

    def __init__(self, curves: Sequence[Curve], resamples: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._curves, self._resamples = curves, resamples
        self._conditions: dict[int, Array] = {}  # by identity: curves that share a baseline share its draws
        self._rates = [np.stack([self._draw(condition) for condition in curve.conditions], axis=1) for curve in curves]
        prompts = {
            prompt: i for i, prompt in enumerate(dict.fromkeys((curve.model, curve.scenario) for curve in curves))
        }
        of = [prompts[curve.model, curve.scenario] for curve in curves]
        counts = self._random.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), resamples)
        self._weights = counts[:, of] / counts[:, of].sum(axis=1, keepdims=True)  # (resamples, curves)

    def _draw(self, condition: Condition) -> Array:
        if id(condition) not in self._conditions:
            k, n = condition.rate.count, condition.samples
            self._conditions[id(condition)] = self._random.binomial(n, (k + 0.5) / (n + 1), self._resamples) / n
        return self._conditions[id(condition)]

    def estimate(self, statistic: _Statistic, limit: float = np.inf) -> Estimate:
        """The mean of a statistic over the curves, with its interval, inside +-limit."""
        observed = np.mean([statistic(_alphas(curve), _rates(curve)) for curve in self._curves])
        value = float(np.clip(observed, -limit, limit))  # rounding may exceed the limit
        drawn = np.stack(
            [statistic(_alphas(curve), rates) for curve, rates in zip(self._curves, self._rates, strict=True)], axis=1
        )  # (resamples, curves)
        means = (drawn * self._weights).sum(axis=1)
        ends = np.quantile(means, [0.025, 0.975])
        low, high = np.stack([ends, ends + value - means.mean(), [value, value]]).T.tolist()
        return Estimate(value, max(min(low), -limit), min(max(high), limit))


def _alphas(curve: Curve) -> Array:
    return np.array([condition.alpha for condition in curve.conditions])


def _rates(curve: Curve) -> Array:
    return np.array([condition.rate.share for condition in curve.conditions])


def _matched(alphas: Array) -> NDArray[np.bool_]:
    """Where an alpha other than 0 has its opposite."""
    return np.asarray((alphas != 0) & np.isin(-alphas, alphas))


def _slope(alphas: Array, rates: Array) -> Array:
    centred = alphas - alphas.mean()
    return np.asarray(rates @ centred / (centred @ centred))


def _spearman(alphas: Array, rates: Array) -> Array:
    from scipy.stats import rankdata

    ranks = rankdata(rates, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    order = np.arange(len(alphas)) - (len(alphas) - 1) / 2
    lengths = np.sqrt((ranks**2).sum(axis=-1) * (order @ order))
    return np.asarray(np.divide(ranks @ order, lengths, out=np.zeros_like(lengths), where=lengths > _ROUNDING))


def _up(alphas: Array, rates: Array) -> Array:
    raised = rates[..., _matched(alphas) & (alphas > 0)].mean(axis=-1)
    return np.asarray(raised - rates[..., alphas == 0][..., 0])


def _down(alphas: Array, rates: Array) -> Array:
    lowered = rates[..., _matched(alphas) & (alphas < 0)].mean(axis=-1)
    return np.asarray(rates[..., alphas == 0][..., 0] - lowered)


def _asymmetry(alphas: Array, rates: Array) -> Array:
    return _up(alphas, rates) - _down(alphas, rates)
