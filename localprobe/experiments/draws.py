"""Intervals of figures over dose-response lines, 95 %, by a parametric bootstrap; see `dose_response`.

The samples of each condition are drawn again from the rate (k + 1/2) / (n + 1) for k of n, since drawing from the
observed k / n would give no variance where all agree. Over several prompts the prompts are drawn as well, with
replacement and all layers of one together, so that the interval covers other prompts too, as far as a few can. Such
draws are nearer to no effect than the observation is; so the interval spans both their percentiles and the same
percentiles centred on the observation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from localprobe.experiments.curves import Counts
from localprobe.stats.arrays import Array
from localprobe.stats.estimates import Estimate

_ROUNDING = 1e-12
Statistic: TypeAlias = Callable[[Array, Array], Array]
"""Of strengths (n,) and rates (..., n)."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The rate at each strength, ascending, on one prompt."""

    prompt: tuple[str, str]
    """The model and the scenario."""
    strengths: tuple[float, ...]
    conditions: tuple[Counts, ...]
    """One for each strength. Lines that share one, such as the unsteered answers, share its draws."""

    @property
    def xs(self) -> Array:
        return np.array(self.strengths)

    @property
    def rates(self) -> Array:
        return np.array([condition.rate.share for condition in self.conditions])


class Draws:
    """Rates that the conditions of some lines could have, and weights of the lines, for each resample."""

    def __init__(self, lines: Sequence[Line], resamples: int = 2000, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._lines, self._resamples = lines, resamples
        self._conditions: dict[int, Array] = {}  # by identity
        self._rates = [np.stack([self._draw(condition) for condition in line.conditions], axis=1) for line in lines]
        prompts = {prompt: i for i, prompt in enumerate(dict.fromkeys(line.prompt for line in lines))}
        of = [prompts[line.prompt] for line in lines]
        counts = self._random.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), resamples)
        self._weights = counts[:, of] / counts[:, of].sum(axis=1, keepdims=True)  # (resamples, lines)

    def _draw(self, condition: Counts) -> Array:
        if id(condition) not in self._conditions:
            k, n = condition.rate.count, condition.samples
            self._conditions[id(condition)] = self._random.binomial(n, (k + 0.5) / (n + 1), self._resamples) / n
        return self._conditions[id(condition)]

    def estimate(self, statistic: Statistic, limit: float = np.inf) -> Estimate:
        """The mean of a statistic over the lines, with its interval, inside +-limit."""
        observed = np.mean([statistic(line.xs, line.rates) for line in self._lines])
        value = float(np.clip(observed, -limit, limit))  # rounding may exceed the limit
        drawn = np.stack(
            [statistic(line.xs, rates) for line, rates in zip(self._lines, self._rates, strict=True)], axis=1
        )  # (resamples, lines)
        means = (drawn * self._weights).sum(axis=1)
        ends = np.quantile(means, [0.025, 0.975])
        low, high = np.stack([ends, ends + value - means.mean(), [value, value]]).T.tolist()
        return Estimate(value, max(min(low), -limit), min(max(high), limit))


def slope(strengths: Array, rates: Array) -> Array:
    """Least squares of the rate on the strength, each strength counting once."""
    centred = strengths - strengths.mean()
    return np.asarray(rates @ centred / (centred @ centred))


def spearman(strengths: Array, rates: Array) -> Array:
    """Spearman's correlation of the two; 0 where the rate never changes."""
    from scipy.stats import rankdata

    ranks = rankdata(rates, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    order = np.arange(len(strengths)) - (len(strengths) - 1) / 2
    lengths = np.sqrt((ranks**2).sum(axis=-1) * (order @ order))
    return np.asarray(np.divide(ranks @ order, lengths, out=np.zeros_like(lengths), where=lengths > _ROUNDING))


def last_minus_first(strengths: Array, rates: Array) -> Array:
    """The change of the rate from the lowest strength to the highest."""
    return np.asarray(rates[..., -1] - rates[..., 0])
