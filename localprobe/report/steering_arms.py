"""What one vector did to one model, read out of a sweep's result: the conditions of its arms, and differences of rates.

An arm is looked at where the vector keeps answers usable: at the largest such strength each way, layer by layer, which
the vector's own answers settle and not how well it steers. Everything else is compared at the same strengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from typing import Any, TypeAlias

import numpy as np

from localprobe.experiments.dose_response import Estimate
from localprobe.experiments.points import mean
from localprobe.report.detection import slug
from localprobe.stats.rates import Rate, grouped_rate

Result: TypeAlias = Mapping[str, Any]
Prompt: TypeAlias = tuple[str, bool]
"""A scenario, and whether its pressure is in."""
At: TypeAlias = tuple[Prompt, Result]
"""A POINT of `localprobe.experiments.result`, and the prompt that it is of."""
End: TypeAlias = tuple[str, int]
"""An arm, and which way: 1 towards the positive pole, -1 away from it. Arms are `vector`, `random`, `both`, `prompt`
and `baseline`, which has no way (0)."""

BASELINE: End = ("baseline", 0)
UP: End = ("vector", 1)
DOWN: End = ("vector", -1)
_RESAMPLES = 2000


@dataclass(frozen=True)
class Arms:
    """One vector in one model."""

    result: Result
    model: Result
    vector: str

    @property
    def concept(self) -> str:
        return str(self.result["concept"])

    @property
    def unit(self) -> str:
        """What strengths were given in: `dose` or `alpha`."""
        return str(self.model.get("unit") or self.result["unit"])

    @cached_property
    def name(self) -> str:
        """The model, with its engine and the vector where those are needed to tell it from others."""
        same = [each for each in self.result["models"] if each["model"] == self.model["model"]]
        engine = f" on {self.model['engine']}" if len(same) > 1 else ""
        several = len({each["vector"] for model in self.result["models"] for each in model["series"]}) > 1
        return f"{self.model['model']}{engine}{f', {self.vector}' if several else ''}"

    @property
    def label(self) -> str:
        return self.model.get("label") or ""

    @property
    def titled(self) -> str:
        """Its name, and its label behind it."""
        return f"{self.name} ({self.label})" if self.label else self.name

    @property
    def slug(self) -> str:
        """For names of files."""
        return slug(f"{self.model['model']}-{self.model['engine']}-{self.vector}")

    @cached_property
    def titles(self) -> dict[Prompt, str]:
        """The prompts as people know them, in the experiment's order."""
        return {
            (each["scenario"], each["pressure"]): f"{each['title']}{'' if each['pressure'] else ', no pressure'}"
            for each in self.model["prompts"]
        }

    @property
    def split(self) -> bool:
        """Whether prompts were asked both with and without their pressure."""
        return len({pressure for _, pressure in self.titles}) > 1

    @property
    def main(self) -> tuple[Prompt, ...]:
        """The prompts that a verdict is on: those with their pressure, where there are both kinds."""
        return tuple(prompt for prompt in self.titles if prompt[1] or not self.split)

    @cached_property
    def all_series(self) -> list[Result]:
        """Those of the vector: its own first, then random directions, then each system prompt with the vector."""
        return [each for each in self.model["series"] if each["vector"] == self.vector]

    def series(self, arm: str, pole: str = "") -> Result | None:
        """The series of an arm; None if there is none, or nothing in it yet."""
        found = (each for each in self.all_series if (each["arm"], each["pole"]) == (arm, pole))
        return next((each for each in found if each["curves"]), None)

    @cached_property
    def ends(self) -> dict[int, tuple[float, float]]:
        """Layer -> the largest usable strengths down and up; 0 where there is none."""
        return {
            each["layer"]: (each["down"] or 0.0, each["up"] or 0.0)
            for each in self.model["sceptic"]
            if each["vector"] == self.vector
        }

    def usable(self, way: int) -> bool:
        """Whether any layer has a usable strength one way."""
        return any(ends[way > 0] for ends in self.ends.values())

    def baseline(self, prompt: Prompt) -> Result | None:
        """The unsteered answers to a prompt."""
        found: Result | None = self._prompt(prompt)["baseline"]
        return found

    def point(self, end: End, layer: int, prompt: Prompt) -> Result | None:
        """The condition at an end of the usable range of a layer; None if it was not run."""
        arm, way = end
        poles = {1: "positive", -1: "negative"}
        strength = self.ends.get(layer, (0.0, 0.0))[way > 0]
        if arm == "baseline" or (arm in ("vector", "random") and not strength):
            return self.baseline(prompt)
        if arm == "prompt" or not strength:
            found: Result | None = self._prompt(prompt)[poles[way]]
            return found
        series = self.series(arm, poles[way] if arm == "both" else "")
        for curve in series["curves"] if series else ():
            if (curve["layer"], curve["scenario"], curve["pressure"]) == (layer, *prompt):
                return next((each for each in curve["points"] if each[self.unit] == strength), None)
        return None

    def points(self, end: End, prompts: Sequence[Prompt] = ()) -> list[At]:
        """The conditions at an end, of all layers and the main prompts, or of others; each once."""
        found = {
            id(point): (prompt, point)
            for prompt in prompts or self.main
            for layer in self.ends
            if (point := self.point(end, layer, prompt))
        }
        return list(found.values())

    def rate(self, end: End, prompts: Sequence[Prompt] = ()) -> Rate | None:
        """The share of answers in the concept's language at an end, over layers and the main prompts, or others."""
        points = self.points(end, prompts)
        return pooled(points, "rate") if points else None

    def difference(self, *terms: tuple[int, End], prompts: Sequence[Prompt] = ()) -> Estimate | None:
        """A sum of rates with signs, as ((1, up), (-1, down)), where every one of them was run. The mean over prompts;
        the interval is made as in `localprobe.experiments.dose_response`: Jeffreys draws of each rate, the prompts
        drawn with replacement, all layers of one together. None if nothing can be compared."""
        sums: dict[Prompt, list[list[tuple[int, Result]]]] = {}
        for prompt in prompts or self.main:
            for layer in self.ends:
                found = [(sign, point) for sign, end in terms if (point := self.point(end, layer, prompt))]
                if len(found) == len(terms):
                    sums.setdefault(prompt, []).append(found)
        return _estimate(list(sums.values())) if sums else None

    def reading(self) -> Result | None:
        """How far the probe's score of the text, read with nothing added, goes from one end of the vector's usable
        range to the other: a MEAN of `localprobe.experiments.result` over the main prompts; None if not measured."""
        found = []
        for prompt in self.main:
            ends = [average(self.points(end, (prompt,)), "reading") for end in (UP, DOWN)]
            if ends[0] is not None and ends[1] is not None:
                found.append(ends[0] - ends[1])
        return mean(found)

    def _prompt(self, prompt: Prompt) -> Result:
        found: Result = next(each for each in self.model["prompts"] if (each["scenario"], each["pressure"]) == prompt)
        return found


def every(result: Result) -> list[Arms]:
    """Each vector in each model that has been steered with it, models of one label together."""
    labels = list(dict.fromkeys(model.get("label") or "" for model in result.get("models", ())))
    models = sorted(result.get("models", ()), key=lambda model: labels.index(model.get("label") or ""))
    return [
        Arms(result, model, vector)
        for model in models
        for vector in dict.fromkeys(each["vector"] for each in model["series"] if each["curves"])
    ]


def steered(series: Result) -> Iterator[At]:
    """The conditions of a series other than its baseline."""
    for curve in series["curves"]:
        for point in curve["points"]:
            if point["alpha"]:
                yield (curve["scenario"], curve["pressure"]), point


def count(rate: Result) -> int:
    """How many a share is of."""
    return round(float(rate["share"]) * int(rate["of"]))


def pooled(points: Sequence[At], what: str) -> Rate:
    """A share over conditions, at least one; the interval takes those of one prompt together."""
    groups: dict[Prompt, tuple[int, int]] = {}
    for prompt, point in points:
        got, of = groups.get(prompt, (0, 0))
        groups[prompt] = got + count(point[what]), of + point[what]["of"]
    return grouped_rate(list(groups.values()))


def perplexity_ratio(points: Sequence[At]) -> float | None:
    """Geometric mean over conditions; None if it was not measured."""
    known = [log(point["perplexity_ratio"]["value"]) for _, point in points if point["perplexity_ratio"]]
    return exp(sum(known) / len(known)) if known else None


def average(points: Sequence[At], what: str) -> float | None:
    """Mean over conditions of `kl`, or of the value of a MEAN; None if it was not measured."""
    values = [point[what]["value"] if isinstance(point[what], Mapping) else point[what] for _, point in points]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _estimate(sums: list[list[list[tuple[int, Result]]]]) -> Estimate:
    """Prompts, each with the sums of its layers, each of signed conditions."""
    random = np.random.default_rng(0)
    draws: dict[int, Any] = {}  # by identity: a baseline that layers share is drawn once

    def draw(point: Result) -> Any:
        if id(point) not in draws:
            k, n = count(point["rate"]), point["rate"]["of"]
            draws[id(point)] = random.beta(k + 0.5, n - k + 0.5, _RESAMPLES)
        return draws[id(point)]

    seen = [np.mean([sum(sign * point["rate"]["share"] for sign, point in each) for each in one]) for one in sums]
    drawn = np.stack(
        [np.mean([sum(sign * draw(point) for sign, point in each) for each in one], axis=0) for one in sums]
    )
    weights = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES) / len(sums)
    low, high = np.quantile((drawn.T * weights).sum(axis=1), [0.025, 0.975])
    value = float(np.mean(seen))
    return Estimate(value, (min(float(low), value), max(float(high), value)))
