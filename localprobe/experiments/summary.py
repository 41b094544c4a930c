"""From the answers of a sweep to its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from localprobe.engine import Sampler
from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.curves import Curve, curves
from localprobe.experiments.dose_response import DoseResponse, dose_response, usable_range
from localprobe.experiments.experiment import PromptChoice
from localprobe.experiments.model_measures import name_of
from localprobe.experiments.outcomes import Outcome, Sample, outcomes
from localprobe.experiments.points import point
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
    Series,
    SweepResult,
)
from localprobe.experiments.success import success
from localprobe.stats.rates import Rate, grouped_rate
from localprobe.store.json_values import from_json
from localprobe.text_metrics.word_lists import WordLists

FORMAT = 1
"""Of a sweep's result."""
_RESAMPLES = 1000


def result_of(about: Mapping[str, Any], answers: Sequence[CellAnswer]) -> SweepResult:
    """The result of the answers of a run; `about` is its run's, with `experiment`, `models` and `waiting`."""
    experiment, models = about["experiment"], about["models"]
    order = [f"{each['name']} on {each['engine']}" if each["engine"] else each["name"] for each in experiment["models"]]
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
    )


class _Summary:
    """Works out the result of one model."""

    def __init__(self, experiment: Mapping[str, Any], facts: Mapping[str, Any], answers: Sequence[CellAnswer]) -> None:
        self._facts = from_json(ModelFacts, {"unit": experiment["strengths"]["unit"], **facts})
        model = self._facts.model, self._facts.engine
        self._answers = [each for each in answers if (each.cell.model, each.cell.engine) == model]
        lists = from_json(WordLists, experiment["words"])
        samples = [self._sample(answer) for answer in self._answers]
        self._seen = dict(zip((a.cell.key for a in self._answers), outcomes(samples, lists), strict=True))
        self._prompts = from_json(tuple[PromptChoice, ...], experiment["prompts"])
        self._layers = {(vector.name, at.layer): at for vector in self._facts.vectors for at in vector.layers}

    def result(self) -> ModelResult:
        return ModelResult(
            **{field.name: getattr(self._facts, field.name) for field in fields(ModelFacts)},
            done=len(self._answers),
            prompts=tuple(map(self._prompt, self._prompts)),
            series=self._series(),
            sceptic=self._sceptic(),
        )

    def _sample(self, answer: CellAnswer) -> Sample:
        cell = answer.cell
        return Sample(
            cell.model,
            cell.layer,
            _name(cell.scenario, cell.pressure),
            self._strength(answer),
            answer.text,
            answer.reason,
        )

    def _strength(self, answer: CellAnswer) -> float:
        return answer.cell.dose if self._facts.unit == "dose" else answer.cell.alpha

    def _of(self, *arms: str, **wanted: Any) -> list[CellAnswer]:
        return [
            answer
            for answer in self._answers
            if answer.cell.arm in arms and all(getattr(answer.cell, name) == value for name, value in wanted.items())
        ]

    def _curves(self, answers: Iterable[CellAnswer]) -> tuple[Curve, ...]:
        return curves(self._seen[answer.cell.key] for answer in answers)

    def _point(self, answers: Sequence[CellAnswer], vector: str = "", layer: int = 0) -> Point:
        """The point of one condition, read by a vector at a layer and above it."""
        cell, at = answers[0].cell, self._layers.get((vector, layer))
        plain = self._of("baseline", scenario=cell.scenario, pressure=cell.pressure)
        names = [name_of(vector, read) for read in (layer, at.above if at else layer)]
        return point(answers, [self._seen[answer.cell.key] for answer in answers], plain, *names)

    def _prompt(self, prompt: PromptChoice) -> PromptSummary:
        def unsteered(arm: str, pole: str = "") -> Point | None:
            answers = self._of(arm, pole=pole, scenario=prompt.id, pressure=prompt.pressure)
            return self._point(answers) if answers else None

        return PromptSummary(
            prompt.id,
            prompt.pressure,
            prompt.title,
            unsteered("baseline"),
            unsteered("system", "positive"),
            unsteered("system", "negative"),
        )

    def _series(self) -> tuple[Series, ...]:
        cells = [answer.cell for answer in self._answers if answer.cell.vector]
        kinds = dict.fromkeys((cell.vector, cell.arm, cell.pole) for cell in cells)
        order = ("vector", "random", "both")
        series = (self._one(*kind) for kind in sorted(kinds, key=lambda kind: (kind[0], order.index(kind[1]), kind[2])))
        return tuple(filter(None, series))

    def _one(self, vector: str, arm: Any, pole: Any) -> Series | None:
        plain = self._of("system", pole=pole) if pole else self._of("baseline")
        steered = _comparable(plain, self._of(arm, vector=vector, pole=pole))
        if not steered:
            return None
        found = self._curves((*plain, *steered))
        layers = sorted({curve.layer for curve in found})
        return Series(
            vector,
            arm,
            pole,
            success(found),
            _response(found),
            tuple(self._layer(vector, layer, [each for each in found if each.layer == layer]) for layer in layers),
            tuple(self._curve(curve, vector, [*plain, *steered]) for curve in found),
        )

    def _layer(self, vector: str, layer: int, found: Sequence[Curve]) -> LayerSummary:
        steered = [cell.condition for curve in found for cell in curve.cells]
        at = self._layers.get((vector, layer))
        return LayerSummary(
            layer,
            at.auroc if at else None,
            success(found),
            _response(found),
            coherent=grouped_rate([(each.coherent.count, each.samples) for each in steered]),
            degenerate=grouped_rate([(each.degenerate.count, each.samples) for each in steered]),
        )

    def _curve(self, curve: Curve, vector: str, answers: Sequence[CellAnswer]) -> CurvePoints:
        prompt = next(each for each in self._prompts if _name(each.id, each.pressure) == curve.scenario)
        alphas: dict[float, list[CellAnswer]] = {}
        for answer in answers:
            if _name(answer.cell.scenario, answer.cell.pressure) == curve.scenario and answer.cell.layer in (
                None,
                curve.layer,
            ):
                alphas.setdefault(answer.cell.alpha, []).append(answer)
        return CurvePoints(
            curve.layer,
            prompt.id,
            prompt.title,
            prompt.pressure,
            success([curve]),
            _response([curve]),
            tuple(self._point(alphas[alpha], vector, curve.layer) for alpha in sorted(alphas)),
        )

    def _sceptic(self) -> tuple[ArmComparison, ...]:
        plain = self._of("baseline")
        found = []
        for vector, layer in sorted(self._layers):
            steered = _comparable(plain, self._of("vector", vector=vector, layer=layer))
            if steered:
                conditions = (each for curve in self._curves((*plain, *steered)) for each in curve.conditions)
                low, high = usable_range(conditions) or (0.0, 0.0)
                found.append(self._comparison(vector, layer, high if high > 0 else None, low if low < 0 else None))
        return tuple(found)

    def _comparison(self, vector: str, layer: int, up: float | None, down: float | None) -> ArmComparison:
        def steered(arm: str, strength: float | None, pole: str = "") -> Rate | None:
            at = self._of(arm, vector=vector, layer=layer, pole=pole)
            return self._rate(answer for answer in at if self._strength(answer) == strength)

        rates = ArmRates(
            baseline=self._rate(self._of("baseline")),
            vector_up=steered("vector", up),
            vector_down=steered("vector", down),
            random_up=steered("random", up),
            random_down=steered("random", down),
            prompt_positive=self._rate(self._of("system", pole="positive")),
            prompt_negative=self._rate(self._of("system", pole="negative")),
            both_up=steered("both", up, "positive"),
            both_down=steered("both", down, "negative"),
        )
        return ArmComparison(vector, layer, up, down, rates)

    def _rate(self, answers: Iterable[CellAnswer]) -> Rate | None:
        """Over all prompts, which the interval takes as the unit."""
        groups: dict[str, list[Outcome]] = {}
        for answer in answers:
            groups.setdefault(_name(answer.cell.scenario, answer.cell.pressure), []).append(self._seen[answer.cell.key])
        return (
            grouped_rate([(sum(o.expresses for o in each), len(each)) for each in groups.values()]) if groups else None
        )


def _response(found: Sequence[Curve]) -> DoseResponse:
    return dose_response(found, resamples=_RESAMPLES)


def _comparable(plain: Sequence[CellAnswer], steered: Sequence[CellAnswer]) -> list[CellAnswer]:
    """Steered answers to prompts that have unsteered ones: half a run may lack a baseline."""
    known = {(answer.cell.scenario, answer.cell.pressure) for answer in plain}
    return [answer for answer in steered if (answer.cell.scenario, answer.cell.pressure) in known]


def _name(scenario: str, pressure: bool) -> str:
    """A prompt's name among outcomes: without its pressure it is another one."""
    return scenario if pressure else f"{scenario}, no pressure"
