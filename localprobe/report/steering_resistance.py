"""Whether a prompt resists steering, as the paper's Figure 8 says of one: a claim that the strict figures must
support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from localprobe.experiments.result import CurvePoints, PromptKey, Series
from localprobe.stats.rates import Rate, grouped_rate

SEEMS = 0.1
"""A prompt whose success by the paper's rule is this much lower than that of the others seems to resist."""


@dataclass(frozen=True, slots=True)
class Resistance:
    """One prompt against the others."""

    paper: float
    """Its success by the paper's rule."""
    own: Rate | None
    """Strict success where there was room: a baseline of 1 cannot be raised, one of 0 cannot be lowered. None if there
    was no room."""
    others_paper: float | None
    """The other prompts' success by the paper's rule; None without other prompts."""
    others: Rate | None

    @property
    def seems_to(self) -> bool:
        """Whether it resists by the paper's rule."""
        return self.others_paper is not None and self.paper <= self.others_paper - SEEMS

    @property
    def resists(self) -> bool:
        """Whether it moves less often than the others where there is room: the interval of the difference (Newcombe
        1998, method 10) lies above 0."""
        if self.own is None or self.others is None:
            return False
        down = self.others.share - self.others.low
        up = self.own.high - self.own.share
        return self.others.share - self.own.share - sqrt(down**2 + up**2) > 0


def resistance(series: Series, prompt: PromptKey) -> Resistance | None:
    """A prompt of a series compared with the others; None if it is missing."""
    own = [curve for curve in series.curves if curve.key == prompt]
    others = [curve for curve in series.curves if curve.key != prompt]
    if not own:
        return None
    return Resistance(_paper(own), _strict(own), _paper(others) if others else None, _strict(others))


def _paper(curves: Sequence[CurvePoints]) -> float:
    rates = [curve.success.paper for curve in curves]
    return sum(rate.share * rate.of for rate in rates) / sum(rate.of for rate in rates)


def _strict(curves: Sequence[CurvePoints]) -> Rate | None:
    """Success of cells with room; the interval treats a curve as the unit."""
    groups = []
    for curve in curves:
        rates = {point.alpha: point.rate.share for point in curve.points}
        plain = rates[0]
        up, down = plain < 1, plain > 0
        cells = [(alpha, rate - plain) for alpha, rate in rates.items() if alpha and (up if alpha > 0 else down)]
        if cells:
            groups.append((sum(alpha * effect > 0 for alpha, effect in cells), len(cells)))
    return grouped_rate(groups) if groups else None
