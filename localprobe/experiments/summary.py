"""Computes the result of a sweep from its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np

from localprobe.engine import Sampler
from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.curves import Curve, curves
from localprobe.experiments.dose_response import DoseResponse, dose_response
from localprobe.experiments.experiment import PromptChoice
from localprobe.experiments.model_measures import name_of
from localprobe.experiments.outcomes import Outcome, Sample, outcomes, prompt_name
from localprobe.experiments.result import (
    ArmComparison,
    ArmRates,
    CellCounts,
    CurvePoints,
    LayerSummary,
    ModelFacts,
    ModelResult,
    Point,
    PromptSummary,
    SampleText,
    Series,
    SweepResult,
)
from localprobe.experiments.success import success
from localprobe.stats.estimates import bounded_exp, geometric_ratio, mean
from localprobe.stats.rates import Rate, grouped_rate
from localprobe.store.json_values import from_json
from localprobe.text_metrics.word_lists import WordLists

FORMAT = 1
"""Of a sweep's result."""
_RESAMPLES = 1000
_TEXTS = 2  # sample texts kept per condition


def result_of(about: Mapping[str, Any], answers: Sequence[CellAnswer]) -> SweepResult:
    """The result of the answers of a run; `about` is the run's, with `experiment`, `models` and `waiting`."""
    experiment, models = about["experiment"], about["models"]
    order = [
        f"{choice['name']} on {choice['engine']}" if choice["engine"] else choice["name"]
        for choice in experiment["models"]
    ]
    expected = [facts["expected"] for facts in models]
    return SweepResult(
        FORMAT,
        **{name: experiment[name] for name in ("name", "concept", "positions", "samples", "tokens", "seed")},
        arms=tuple(experiment["arms"]),
        unit=experiment["strengths"]["unit"],
        sampling=from_json(Sampler, experiment["sampler"]),
        cells=CellCounts(
            expected=sum((*expected, *about["waiting"].values())),
            done=len(answers),
            measured=sum(answer.measures is not None for answer in answers),
            judged=sum(answer.judgement is not None for answer in answers),
        ),
        models=tuple(
            _Summary(experiment, facts, answers).result()
            for facts in sorted(models, key=lambda facts: order.index(facts["choice"]))
        ),
        counted=experiment["words"] is not None,
    )


_Measured: TypeAlias = tuple[CellAnswer, Outcome]


class _Summary:
    """Computes the result of one model."""

    def __init__(self, experiment: Mapping[str, Any], facts: Mapping[str, Any], answers: Sequence[CellAnswer]) -> None:
        self._facts = from_json(ModelFacts, {"unit": experiment["strengths"]["unit"], **facts})
        self._prompts = from_json(tuple[PromptChoice, ...], experiment["prompts"])
        self._layers = {(vector.name, at.layer): at for vector in self._facts.vectors for at in vector.layers}
        model = self._facts.model, self._facts.engine
        own = [answer for answer in answers if (answer.cell.model, answer.cell.engine) == model]
        self._done = len(own)
        self._measured: list[_Measured] = []
        if experiment["words"] is None:  # nothing to count by: the models have no prompts, series or comparisons
            self._prompts = ()
            return
        measured = outcomes(map(self._sample, own), from_json(WordLists, experiment["words"]))
        self._measured = list(zip(own, measured, strict=True))

    def result(self) -> ModelResult:
        series = self._series()
        return ModelResult(
            **{field.name: getattr(self._facts, field.name) for field in fields(ModelFacts)},
            done=self._done,
            prompts=tuple(map(self._prompt, self._prompts)),
            series=series,
            sceptic=tuple(
                self._comparison(own.vector, at.layer, *(at.response.usable or (0.0, 0.0)))
                for own in series
                if own.arm == "vector"
                for at in own.layers
            ),
        )

    def _sample(self, answer: CellAnswer) -> Sample:
        cell = answer.cell
        name, strength = prompt_name(cell.scenario, cell.pressure), getattr(cell, self._facts.unit)
        return Sample(cell.model, cell.layer, name, strength, answer.text, answer.reason)

    def _of(self, arm: str, **values: Any) -> list[_Measured]:
        """Answers of an arm whose cells have these values."""
        values["arm"] = arm
        return [
            (answer, outcome)
            for answer, outcome in self._measured
            if all(getattr(answer.cell, name) == value for name, value in values.items())
        ]

    def _point(self, measured: Sequence[_Measured], vector: str = "", layer: int = 0) -> Point:
        """The measures of one condition with at least one answer, read by a vector at a layer and above it."""
        cell, at = measured[0][0].cell, self._layers.get((vector, layer))
        answers, counted = [answer for answer, _ in measured], [outcome for _, outcome in measured]
        unsteered = [answer for answer, _ in self._of("baseline", scenario=cell.scenario, pressure=cell.pressure)]
        own, above = (name_of(vector, reading_layer) for reading_layer in (layer, at.above if at else layer))
        losses = _losses(answers)
        divergences = [answer.measures.kl for answer in answers if answer.measures]
        return Point.of(
            cell.alpha,
            counted,
            dose=cell.dose,
            reasons=dict(Counter(reason for outcome in counted for reason in outcome.reasons).most_common()),
            truncated=sum(bool(outcome.truncated) for outcome in counted),
            tokens=float(np.mean([len(answer.ids) for answer in answers])),
            score=mean([answer.scores.get(own) for answer in answers]),
            score_above=mean([answer.scores.get(above) for answer in answers]),
            reading=mean([_reading(answer, own) for answer in answers]),
            reading_above=mean([_reading(answer, above) for answer in answers]),
            perplexity=bounded_exp(float(np.mean(losses))) if losses else None,
            perplexity_ratio=geometric_ratio(losses, _losses(unsteered)),
            kl=float(np.mean(divergences)) if divergences else None,
            judge=mean([answer.judgement.score if answer.judgement else None for answer in answers]),
            texts=tuple(
                SampleText(answer.cell.sample, answer.text, outcome.expresses, outcome.coherent, outcome.reasons)
                for answer, outcome in list(zip(answers, counted, strict=True))[:_TEXTS]
            ),
        )

    def _prompt(self, prompt: PromptChoice) -> PromptSummary:
        def unsteered(arm: str, pole: str = "") -> Point | None:
            measured = self._of(arm, pole=pole, scenario=prompt.id, pressure=prompt.pressure)
            return self._point(measured) if measured else None

        return PromptSummary(
            prompt.id,
            prompt.pressure,
            prompt.title,
            unsteered("baseline"),
            unsteered("system", "positive"),
            unsteered("system", "negative"),
        )

    def _series(self) -> tuple[Series, ...]:
        cells = [answer.cell for answer, _ in self._measured if answer.cell.vector]
        kinds = dict.fromkeys((cell.vector, cell.arm, cell.pole) for cell in cells)
        order = ("vector", "random", "both")
        series = (self._one(*kind) for kind in sorted(kinds, key=lambda kind: (kind[0], order.index(kind[1]), kind[2])))
        return tuple(filter(None, series))

    def _one(self, vector: str, arm: Any, pole: Any) -> Series | None:
        baseline = self._of("system", pole=pole) if pole else self._of("baseline")
        prompts = {outcome.scenario for _, outcome in baseline}  # an unfinished run may lack some baselines
        steered = [measured for measured in self._of(arm, vector=vector, pole=pole) if measured[1].scenario in prompts]
        if not steered:
            return None
        group = curves(outcome for _, outcome in (*baseline, *steered))
        return Series(
            vector,
            arm,
            pole,
            success(group),
            _response(group),
            tuple(
                self._layer(vector, layer, [curve for curve in group if curve.layer == layer])
                for layer in sorted({curve.layer for curve in group})
            ),
            tuple(self._curve(curve, vector, [*baseline, *steered]) for curve in group),
        )

    def _layer(self, vector: str, layer: int, group: Sequence[Curve]) -> LayerSummary:
        steered = [cell.condition for curve in group for cell in curve.cells]
        at = self._layers.get((vector, layer))
        return LayerSummary(
            layer,
            at.auroc if at else None,
            success(group),
            _response(group),
            coherent=grouped_rate([(condition.coherent.count, condition.samples) for condition in steered]),
            degenerate=grouped_rate([(condition.degenerate.count, condition.samples) for condition in steered]),
        )

    def _curve(self, curve: Curve, vector: str, measured: Sequence[_Measured]) -> CurvePoints:
        prompt = next(p for p in self._prompts if prompt_name(p.id, p.pressure) == curve.scenario)
        alphas: dict[float, list[_Measured]] = {}
        for answer, outcome in measured:
            if outcome.scenario == curve.scenario and outcome.layer in (None, curve.layer):
                alphas.setdefault(answer.cell.alpha, []).append((answer, outcome))
        return CurvePoints(
            curve.layer,
            prompt.id,
            prompt.title,
            prompt.pressure,
            success([curve]),
            _response([curve]),
            tuple(self._point(alphas[alpha], vector, curve.layer) for alpha in sorted(alphas)),
        )

    def _comparison(self, vector: str, layer: int, low: float, high: float) -> ArmComparison:
        def steered(arm: str, strength: float, pole: str = "") -> Rate | None:
            at = self._of(arm, vector=vector, layer=layer, pole=pole, **{self._facts.unit: strength})
            return _rate(at) if strength else None

        rates = ArmRates(
            baseline=_rate(self._of("baseline")),
            vector_up=steered("vector", high),
            vector_down=steered("vector", low),
            random_up=steered("random", high),
            random_down=steered("random", low),
            prompt_positive=_rate(self._of("system", pole="positive")),
            prompt_negative=_rate(self._of("system", pole="negative")),
            both_up=steered("both", high, "positive"),
            both_down=steered("both", low, "negative"),
        )
        return ArmComparison(vector, layer, high or None, low or None, rates)


def _response(group: Sequence[Curve]) -> DoseResponse:
    return dose_response(group, resamples=_RESAMPLES)


def _rate(measured: Iterable[_Measured]) -> Rate | None:
    """Over all prompts; the interval treats a prompt as the unit."""
    groups: dict[str, list[bool]] = {}
    for _, outcome in measured:
        groups.setdefault(outcome.scenario, []).append(outcome.expresses)
    return grouped_rate([(sum(group), len(group)) for group in groups.values()]) if groups else None


def _reading(answer: CellAnswer, name: str) -> float | None:
    return answer.measures.readings.get(name) if answer.measures else None


def _losses(answers: Sequence[CellAnswer]) -> list[float]:
    return [loss for answer in answers if answer.measures and (loss := answer.measures.nll) is not None]
