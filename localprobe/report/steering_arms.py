"""The effect of one vector on one model, from a sweep's result: the conditions of its arms, and differences of rates.

All arms are compared at the ends of the vector's usable range: at each layer, the largest strength in each direction at
which the vector's own answers stay usable, regardless of how well it steers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from localprobe.experiments.ablation import AblationSeries
from localprobe.experiments.points import Measures, Point
from localprobe.experiments.pooling import average, pooled
from localprobe.experiments.result import ModelResult, PromptKey, PromptSummary, Series, SweepResult
from localprobe.report.detection import slug
from localprobe.stats.arrays import Array
from localprobe.stats.estimates import Estimate, Mean, mean
from localprobe.stats.rates import Rate

PromptPoint: TypeAlias = tuple[PromptKey, Measures]
"""A condition and its prompt."""
End: TypeAlias = tuple[Literal["vector", "random", "both", "prompt", "baseline", "ablate", "random-ablate"], int]
"""An arm and its direction: 1 towards the positive pole, -1 away from it, 0 for the baseline and for ablations, which
have none. `prompt` is the system prompt of that pole without a vector; ablations are at their largest share."""

BASELINE: End = ("baseline", 0)
UP: End = ("vector", 1)
DOWN: End = ("vector", -1)
_RESAMPLES = 2000
ABLATED: End = ("ablate", 0)
RANDOM_ABLATED: End = ("random-ablate", 0)
_SignedPoint: TypeAlias = tuple[int, Measures]


@dataclass(frozen=True)
class Arms:
    """One vector in one model."""

    result: SweepResult
    model: ModelResult
    vector: str

    @property
    def concept(self) -> str:
        return self.result.concept

    @cached_property
    def name(self) -> str:
        """The model, with its engine and the vector if they are needed to distinguish it."""
        loads = sum(other.model == self.model.model for other in self.result.models)
        vectors = {vector for model in self.result.models for vector in _vectors(model)}
        engine = f" on {self.model.engine}" if loads > 1 else ""
        return f"{self.model.model}{engine}{f', {self.vector}' if len(vectors) > 1 else ''}"

    @property
    def titled(self) -> str:
        """The name followed by the label."""
        return f"{self.name} ({self.model.label})" if self.model.label else self.name

    @property
    def slug(self) -> str:
        """For file names."""
        return slug(f"{self.model.model}-{self.model.engine}-{self.vector}")

    @cached_property
    def prompts(self) -> dict[PromptKey, PromptSummary]:
        """In the experiment's order."""
        return {prompt.key: prompt for prompt in self.model.prompts}

    @cached_property
    def titles(self) -> dict[PromptKey, str]:
        """The titles of the prompts."""
        return {
            key: f"{prompt.title}{'' if prompt.pressure else ', no pressure'}" for key, prompt in self.prompts.items()
        }

    @property
    def split(self) -> bool:
        """Whether prompts were used both with and without their pressure."""
        return len({pressure for _, pressure in self.titles}) > 1

    @property
    def main(self) -> tuple[PromptKey, ...]:
        """The prompts that a verdict uses: those with pressure, if there are both kinds."""
        return tuple(prompt for prompt in self.titles if prompt[1] or not self.split)

    @cached_property
    def all_series(self) -> list[Series]:
        """All series of the vector: its own first, then random directions, then each system prompt with the vector."""
        return [series for series in self.model.series if series.vector == self.vector]

    def series(self, arm: str, pole: str = "") -> Series | None:
        """The series of an arm; None if there is none."""
        return next((series for series in self.all_series if (series.arm, series.pole) == (arm, pole)), None)

    def ablation(self, arm: str) -> AblationSeries | None:
        """The series of an ablating arm; None if there is none."""
        own = (series for series in self.model.ablations if series.vector == self.vector)
        return next((series for series in own if series.arm == arm), None)

    @cached_property
    def ablated(self) -> str:
        """What tables say of the share that ablations are compared at; empty if nothing was ablated."""
        shares = {f"{each.response.share:g}" for arm in ("ablate", "random-ablate") if (each := self.ablation(arm))}
        return f" Ablations take a share of {', '.join(sorted(shares))} away at every layer." if shares else ""

    @cached_property
    def layers(self) -> list[int]:
        """The layers of its directions, added or ablated."""
        ablated = [at.layer for series in self.model.ablations if series.vector == self.vector for at in series.layers]
        return list(dict.fromkeys([*self.ends, *ablated]))

    @cached_property
    def ends(self) -> dict[int, tuple[float, float]]:
        """Layer -> the largest usable strengths down and up; 0 if there is none."""
        own = self.series("vector")
        return {at.layer: at.response.usable or (0.0, 0.0) for at in own.layers} if own else {}

    def usable(self, way: int) -> bool:
        """Whether any layer has a usable strength in a direction."""
        return any(ends[way > 0] for ends in self.ends.values())

    def point(self, end: End, layer: int, prompt: PromptKey) -> Measures | None:
        """The condition at an end of the usable range of a layer; None if it was not run."""
        arm, way = end
        if arm in ("ablate", "random-ablate"):
            ablation = self.ablation(arm)
            curves = [curve for curve in ablation.at(layer) if curve.key == prompt] if ablation else []
            return curves[0].points[-1] if curves else None
        if layer not in self.ends and arm in ("vector", "random", "both"):
            return None
        strength = self.ends.get(layer, (0.0, 0.0))[way > 0]
        if arm == "baseline" or (arm in ("vector", "random") and not strength):
            return self.prompts[prompt].baseline
        if arm == "prompt" or not strength:
            return self.prompts[prompt].positive if way > 0 else self.prompts[prompt].negative
        pole = "" if arm != "both" else "positive" if way > 0 else "negative"
        series = self.series(arm, pole)
        points = series.points(layer, prompt) if series else ()
        return next((point for point in points if self.model.strength(point) == strength), None)

    def points(self, end: End, prompts: Sequence[PromptKey] = ()) -> list[PromptPoint]:
        """The distinct conditions at an end, over all layers and the main prompts, or `prompts`."""
        points = {
            id(point): (prompt, point)
            for prompt in prompts or self.main
            for layer in self.layers
            if (point := self.point(end, layer, prompt))
        }
        return list(points.values())

    def rate(self, end: End, prompts: Sequence[PromptKey] = ()) -> Rate | None:
        """The share of answers in the concept's language at an end, over layers and the main prompts, or `prompts`."""
        points = self.points(end, prompts)
        return pooled(points, "rate") if points else None

    def difference(self, *terms: tuple[int, End], prompts: Sequence[PromptKey] = ()) -> Estimate | None:
        """A signed sum of rates, such as ((1, up), (-1, down)): the mean over prompts where all of them were run. The
        interval is computed as in `localprobe.experiments.dose_response`: Jeffreys draws of each rate, and prompts
        drawn with replacement, all layers of one together. None if nothing can be compared."""
        sums: dict[PromptKey, list[list[_SignedPoint]]] = {}
        for prompt in prompts or self.main:
            for layer in self.layers:
                points = [(sign, point) for sign, end in terms if (point := self.point(end, layer, prompt))]
                if len(points) == len(terms):
                    sums.setdefault(prompt, []).append(points)
        return _estimate(list(sums.values())) if sums else None

    def reading(self) -> Mean | None:
        """Difference of the probe's score of the text, read with nothing added, between the ends of the vector's usable
        range, over the main prompts; None if not measured."""
        differences = []
        for prompt in self.main:
            up, down = (average(self.points(end, (prompt,)), "reading") for end in (UP, DOWN))
            if up is not None and down is not None:
                differences.append(up - down)
        return mean(differences)


def every(result: SweepResult) -> list[Arms]:
    """Each vector in each model that it was added in or ablated from, grouped by label."""
    labels = list(dict.fromkeys(model.label for model in result.models))
    return [
        Arms(result, model, vector)
        for model in sorted(result.models, key=lambda model: labels.index(model.label))
        for vector in dict.fromkeys(_vectors(model))
    ]


def _vectors(model: ModelResult) -> list[str]:
    """The vector of each series."""
    return [*(series.vector for series in model.series), *(series.vector for series in model.ablations)]


def steered(series: Series) -> Iterator[tuple[PromptKey, Point]]:
    """The conditions of a series other than its baseline."""
    return ((curve.key, point) for curve in series.curves for point in curve.points if point.alpha)


def _estimate(sums: list[list[list[_SignedPoint]]]) -> Estimate:
    """Estimate from prompts, their layers, and each layer's signed conditions."""
    random = np.random.default_rng(0)
    draws: dict[int, Array] = {}  # by identity: a shared baseline is drawn once

    def draw(point: Measures) -> Array:
        if id(point) not in draws:
            count, of = point.rate.count, point.rate.of
            draws[id(point)] = random.beta(count + 0.5, of - count + 0.5, _RESAMPLES)
        return draws[id(point)]

    observed = [np.mean([sum(sign * point.rate.share for sign, point in layer) for layer in prompt]) for prompt in sums]
    drawn = np.stack(
        [
            np.mean([np.sum([sign * draw(point) for sign, point in layer], axis=0) for layer in prompt], axis=0)
            for prompt in sums
        ]
    )
    weights = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES) / len(sums)
    low, high = np.quantile((drawn.T * weights).sum(axis=1), [0.025, 0.975])
    value = float(np.mean(observed))
    return Estimate(value, min(float(low), value), max(float(high), value))
