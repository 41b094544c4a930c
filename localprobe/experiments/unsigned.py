"""The part of a sweep's result that is about ablations and steering expressions, whose strengths have no sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, TypeAlias

from localprobe.experiments.ablation import (
    AblationCurve,
    AblationLayer,
    AblationSeries,
    Change,
    ShareResponse,
    change,
    reading_change,
    share_response,
)
from localprobe.experiments.curves import Counts
from localprobe.experiments.draws import Line
from localprobe.experiments.experiment import PromptChoice
from localprobe.experiments.expression_result import ExpressionFacts, ExpressionPoint, ExpressionResult
from localprobe.experiments.grid import EXPRESSION
from localprobe.experiments.measured import Measured, MeasuredAnswers, marks_of, readings
from localprobe.experiments.model_measures import name_of
from localprobe.experiments.outcomes import prompt_name
from localprobe.experiments.points import Measures, SharePoint
from localprobe.experiments.result import ModelFacts
from localprobe.stats.estimates import Estimate
from localprobe.stats.rates import grouped_rate

_RESAMPLES = 1000
_Arm: TypeAlias = Literal["ablate", "random-ablate"]
_ARMS: tuple[_Arm, ...] = ("ablate", "random-ablate")
_Points: TypeAlias = tuple[int, PromptChoice, tuple[SharePoint, ...]]
"""A layer, a prompt, and the conditions there by ascending share, the unsteered one first."""


class Unsigned:
    """Ablations and expressions on one model."""

    def __init__(self, facts: ModelFacts, prompts: Sequence[PromptChoice], answers: MeasuredAnswers) -> None:
        self._facts, self._prompts, self._answers = facts, prompts, answers
        self._aurocs = {(vector.name, at.layer): at.auroc for vector in facts.vectors for at in vector.layers}

    def ablations(self) -> tuple[AblationSeries, ...]:
        """By vector, then arm; those with answers, and unsteered ones to the same prompts."""
        vectors = {answer.cell.vector for arm in _ARMS for answer, _ in self._answers.of(arm)}
        found: list[AblationSeries] = []
        for vector in sorted(vectors):
            own, random = (self._series(vector, arm) for arm in _ARMS)
            if own:
                found.append(replace(own, beyond_random=self._beyond(own, random) if random else None))
            found += [random] if random else []
        return tuple(found)

    def expressed(self) -> tuple[ExpressionResult, ...]:
        """Those with answers, and unsteered ones to the same prompts."""
        return tuple(filter(None, map(self._expressed, self._facts.expressions)))

    @cached_property
    def _plain(self) -> dict[tuple[str, bool], list[Measured]]:
        """The unsteered answers to each prompt."""
        return {
            (prompt.id, prompt.pressure): self._answers.of("baseline", scenario=prompt.id, pressure=prompt.pressure)
            for prompt in self._prompts
        }

    @cached_property
    def _counts(self) -> dict[tuple[str, bool], Counts]:
        """The same counted, once: lines of several layers share their draws."""
        return {key: Counts.of(marks_of(measured)) for key, measured in self._plain.items() if measured}

    def _series(self, vector: str, arm: _Arm) -> AblationSeries | None:
        layers = sorted({answer.cell.layer or 0 for answer, _ in self._answers.of(arm, vector=vector)})
        places = [(layer, prompt) for layer in layers for prompt in self._prompts]
        points = [(*place, found) for place in places if (found := self._points(vector, arm, *place))]
        if not points:
            return None
        return AblationSeries(
            vector,
            arm,
            self._response(vector, arm, points),
            tuple(
                self._layer(vector, arm, layer, own)
                for layer in layers
                if (own := [each for each in points if each[0] == layer])
            ),
            tuple(self._curve(vector, arm, each) for each in points),
        )

    def _points(self, vector: str, arm: _Arm, layer: int, prompt: PromptChoice) -> tuple[SharePoint, ...]:
        """By ascending share; empty without steered answers, or without unsteered ones."""
        where = {"vector": vector, "layer": layer, "scenario": prompt.id, "pressure": prompt.pressure}
        shares: dict[float, list[Measured]] = {}
        for measured in self._answers.of(arm, **where):
            shares.setdefault(measured[0].cell.share or 0.0, []).append(measured)
        plain = self._plain[prompt.id, prompt.pressure]
        if not shares or not plain:
            return ()
        return tuple(
            SharePoint.of(marks_of(measured), share=share, **self._answers.measures(measured, vector, layer))
            for share, measured in sorted({0.0: plain, **shares}.items())
        )

    def _curve(self, vector: str, arm: _Arm, at: _Points) -> AblationCurve:
        layer, prompt, points = at
        response = self._response(vector, arm, [at])
        return AblationCurve(layer, prompt.id, prompt.title, prompt.pressure, response, points)

    def _layer(self, vector: str, arm: _Arm, layer: int, points: Sequence[_Points]) -> AblationLayer:
        ablated = [point for _, _, found in points for point in found[1:]]
        return AblationLayer(
            layer,
            self._aurocs.get((vector, layer)),
            self._response(vector, arm, points),
            coherent=grouped_rate([(point.coherent.count, point.samples) for point in ablated]),
            degenerate=grouped_rate([(point.degenerate.count, point.samples) for point in ablated]),
        )

    def _response(self, vector: str, arm: _Arm, points: Sequence[_Points]) -> ShareResponse:
        lines, groups = [], dict[str, list[Change]]()
        for layer, prompt, found in points:
            name, key = prompt_name(prompt.id, prompt.pressure), (prompt.id, prompt.pressure)
            shares = tuple(point.share for point in found)
            lines.append(Line((self._facts.model, name), shares, (self._counts[key], *found[1:])))
            where = {"vector": vector, "layer": layer, "scenario": prompt.id, "pressure": prompt.pressure}
            after = self._answers.of(arm, share=shares[-1], **where)
            groups.setdefault(name, []).append(self._readings(self._plain[key], after, vector, layer))
        return share_response(lines, reading_change([*groups.values()]), resamples=_RESAMPLES)

    def _readings(self, before: list[Measured], after: list[Measured], vector: str, layer: int) -> Change:
        name = name_of(vector, layer)
        return readings(before, name), readings(after, name)

    def _beyond(self, own: AblationSeries, random: AblationSeries) -> Estimate | None:
        others = {(curve.layer, curve.key): curve.points[-1] for curve in random.curves}
        pairs = [
            (prompt_name(*curve.key), other, curve.points[-1])
            for curve in own.curves
            if (other := others.get((curve.layer, curve.key))) and other.share == curve.points[-1].share
        ]
        return change(self._facts.model, pairs, resamples=_RESAMPLES)

    def _expressed(self, facts: ExpressionFacts) -> ExpressionResult | None:
        points, pairs, groups = [], [], []
        for prompt in self._prompts:
            where = {"scenario": prompt.id, "pressure": prompt.pressure}
            before = self._plain[prompt.id, prompt.pressure]
            after = self._answers.of(EXPRESSION, steering=facts.text, **where)
            if not before or not after:
                continue
            plain, steered = (self._measures(measured, facts) for measured in (before, after))
            points.append(ExpressionPoint(prompt.id, prompt.title, prompt.pressure, plain, steered))
            pairs.append((prompt_name(prompt.id, prompt.pressure), plain, steered))
            groups.append([self._readings(before, after, facts.vector, facts.layer)])
        moved = change(self._facts.model, pairs, resamples=_RESAMPLES)
        return ExpressionResult(facts.text, moved, reading_change(groups), tuple(points)) if moved else None

    def _measures(self, measured: list[Measured], facts: ExpressionFacts) -> Measures:
        return Measures.of(marks_of(measured), **self._answers.measures(measured, facts.vector, facts.layer))
