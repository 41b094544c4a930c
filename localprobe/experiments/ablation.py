"""Ablation by share: how the answers change as more of a direction is taken away, from nothing (0) to all of it (1).

A share has no sign, so there is no up and down, and the paper's rule of success does not apply: what is stated is the
change from the unsteered answers, with an interval, and whether it differs from that of random directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from localprobe.experiments.curves import Counts
from localprobe.experiments.draws import Draws, Line, last_minus_first, slope, spearman
from localprobe.experiments.points import SharePoint
from localprobe.stats.estimates import Estimate, Mean, mean
from localprobe.stats.rates import Rate

_ROUNDING = 1e-9
PromptKey: TypeAlias = tuple[str, bool]
"""A scenario, and whether it keeps its pressure."""
Change: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""Readings of the unsteered answers to a prompt, and of those under a steering."""


@dataclass(frozen=True, slots=True)
class ShareResponse:
    """Dose-response over shares from 0 to 1, of one curve or of several together: then a mean over curves."""

    share: float
    """The largest share."""
    change: Estimate
    """The rate at that share minus the unsteered one."""
    slope: Estimate
    """Least squares of rate on share, each share counting once: the change from nothing to all on a straight line."""
    monotonicity: Estimate
    """Spearman's correlation of share and rate, in [-1, 1]; 0 where the rate never changes."""
    usable: float | None
    """The largest share at which, and at all smaller ones, more than half of the answers are coherent and not
    degenerate; None if that fails unsteered already."""
    reading: Mean | None
    """The change of the probe's reading of the texts, with nothing added, at the largest share; None if not measured.
    Over prompts, or for a single prompt over its answers."""


@dataclass(frozen=True, slots=True)
class AblationCurve:
    """The direction of one layer on one prompt."""

    layer: int
    scenario: str
    title: str
    pressure: bool
    response: ShareResponse
    points: tuple[SharePoint, ...]
    """By ascending share, the unsteered answers first."""

    @property
    def key(self) -> PromptKey:
        return self.scenario, self.pressure


@dataclass(frozen=True, slots=True)
class AblationLayer:
    """All prompts of a series, by the direction of one layer, which is ablated at every layer."""

    layer: int
    auroc: float | None
    """Of the probe on pairs held out; None if not known."""
    response: ShareResponse
    coherent: Rate
    """Of the answers under ablation, by the paper's rule."""
    degenerate: Rate


@dataclass(frozen=True, slots=True)
class AblationSeries:
    """One ablating arm with one vector, for all prompts that have unsteered answers."""

    vector: str
    arm: Literal["ablate", "random-ablate"]
    response: ShareResponse
    layers: tuple[AblationLayer, ...]
    curves: tuple[AblationCurve, ...]
    beyond_random: Estimate | None = None
    """Of the arm `ablate`: the rate at the largest share minus that of random directions ablated at the same share,
    where both were run; None if they were not."""

    def at(self, layer: int) -> list[AblationCurve]:
        """The curves of one layer."""
        return [curve for curve in self.curves if curve.layer == layer]


def share_response(
    lines: Sequence[Line], reading: Mean | None, *, resamples: int = 2000, seed: int = 0
) -> ShareResponse:
    """Measure at least one line, each of which begins at a share of 0; the same for the same seed."""
    draws = Draws(lines, resamples, seed)
    return ShareResponse(
        share=max(line.strengths[-1] for line in lines),
        change=draws.estimate(last_minus_first, 1),
        slope=draws.estimate(slope),
        monotonicity=draws.estimate(spearman, 1),
        usable=usable_share(
            (share, at) for line in lines for share, at in zip(line.strengths, line.conditions, strict=True)
        ),
        reading=reading,
    )


def usable_share(conditions: Iterable[tuple[float, Counts]]) -> float | None:
    """See `ShareResponse.usable`; answers of equal share are pooled."""
    counts: dict[float, tuple[int, int]] = {}
    for share, condition in conditions:
        usable, samples = counts.get(share, (0, 0))
        counts[share] = usable + condition.usable, samples + condition.samples
    largest = None
    for share in sorted(counts):
        usable, samples = counts[share]
        if 2 * usable <= samples:
            break
        largest = share
    return largest


def change(
    model: str, pairs: Iterable[tuple[str, Counts, Counts]], *, resamples: int = 2000, seed: int = 0
) -> Estimate | None:
    """The mean difference of rates, second minus first, over (scenario, first, second); None if there is no pair."""
    lines = [Line((model, scenario), (0.0, 1.0), (first, second)) for scenario, first, second in pairs]
    return Draws(lines, resamples, seed).estimate(last_minus_first, 1) if lines else None


def reading_change(groups: Sequence[Sequence[Change]]) -> Mean | None:
    """The mean change of a reading over prompts, each with (before, after) for every layer that was steered: with an
    interval by Student's t over prompts, or, for a single prompt at one layer, by Welch's over its answers. None if
    nothing was measured."""
    measured = [[pair for pair in prompt if all(pair)] for prompt in groups]
    prompts = [prompt for prompt in measured if prompt]
    if len(prompts) == 1 and len(prompts[0]) == 1:
        return _welch(*prompts[0][0])
    return mean([_mean([_mean(after) - _mean(before) for before, after in prompt]) for prompt in prompts])


def _welch(before: Sequence[float], after: Sequence[float]) -> Mean:
    from scipy.stats import ttest_ind

    value = _mean(after) - _mean(before)
    alike = max(_spread(before), _spread(after)) <= _ROUNDING * max(map(abs, (*before, *after)))
    if min(len(before), len(after)) < 2 or alike:  # the same text every time says nothing of how texts vary
        return Mean(value, None, None, 1)
    interval = ttest_ind(after, before, equal_var=False).confidence_interval()
    return Mean(value, float(interval.low), float(interval.high), 1)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
