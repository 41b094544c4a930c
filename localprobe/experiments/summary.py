"""Computes the result of a sweep from its answers. `unsigned` does the part of what has no signed strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from localprobe.engine import Sampler
from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.curves import Curve, curves
from localprobe.experiments.dose_response import DoseResponse, dose_response
from localprobe.experiments.experiment import ABLATING, ADDING, PromptChoice
from localprobe.experiments.measured import Measured, MeasuredAnswers, outcome, rate_of, scenario, signed
from localprobe.experiments.outcomes import prompt_name
from localprobe.experiments.points import Point
from localprobe.experiments.result import (
    ArmComparison,
    ArmRates,
    CellCounts,
    CurvePoints,
    LayerSummary,
    ModelFacts,
    ModelResult,
    PromptSummary,
    Series,
    SweepResult,
)
from localprobe.experiments.success import success
from localprobe.experiments.unsigned import Unsigned
from localprobe.stats.rates import Rate, grouped_rate
from localprobe.store.json_values import from_json
from localprobe.text_metrics.word_lists import WordLists

FORMAT = 1
"""Of a sweep's result."""
_RESAMPLES = 1000


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
        shares=tuple(experiment.get("shares", ())),
        steering=tuple(experiment.get("steering", ())),
    )


class _Summary:
    """Computes the result of one model."""

    def __init__(self, experiment: Mapping[str, Any], facts: Mapping[str, Any], answers: Sequence[CellAnswer]) -> None:
        self._facts = from_json(ModelFacts, {"unit": experiment["strengths"]["unit"], **facts})
        self._prompts = from_json(tuple[PromptChoice, ...], experiment["prompts"])
        self._layers = {(vector.name, at.layer): at for vector in self._facts.vectors for at in vector.layers}
        model = self._facts.model, self._facts.engine
        own = [answer for answer in answers if (answer.cell.model, answer.cell.engine) == model]
        self._done = len(own)
        above = {place: at.above for place, at in self._layers.items()}
        above |= {(item.vector, item.layer): item.above for item in self._facts.expressions}
        if experiment["words"] is None:  # nothing to count by: the models have no prompts, series or comparisons
            self._prompts, own = (), []
        lists = from_json(WordLists, experiment["words"] or {"positive": [], "negative": []})
        self._answers = MeasuredAnswers(own, lists, above)
        self._unsigned = Unsigned(self._facts, self._prompts, self._answers)

    def result(self) -> ModelResult:
        series, ablations = self._series(), self._unsigned.ablations()
        places: dict[tuple[str, int], tuple[float, float] | None] = {
            (own.vector, at.layer): at.response.usable for own in series if own.arm == "vector" for at in own.layers
        }
        for ablated in ablations:
            for layer in ablated.layers:
                places.setdefault((ablated.vector, layer.layer), None)
        return ModelResult(
            **{field.name: getattr(self._facts, field.name) for field in fields(ModelFacts)},
            done=self._done,
            prompts=tuple(map(self._prompt, self._prompts)),
            series=series,
            sceptic=tuple(self._comparison(*place, *(usable or (0.0, 0.0))) for place, usable in places.items()),
            ablations=ablations,
            expressed=self._unsigned.expressed(),
        )

    def _prompt(self, prompt: PromptChoice) -> PromptSummary:
        def unsteered(arm: str, pole: str = "") -> Point | None:
            measured = self._answers.of(arm, pole=pole, scenario=prompt.id, pressure=prompt.pressure)
            return self._answers.point(measured) if measured else None

        return PromptSummary(
            prompt.id,
            prompt.pressure,
            prompt.title,
            unsteered("baseline"),
            unsteered("system", "positive"),
            unsteered("system", "negative"),
        )

    def _series(self) -> tuple[Series, ...]:
        of = [(arm, answer.cell) for arm in ADDING for answer, _ in self._answers.of(arm)]  # in the order of the arms
        kinds = dict.fromkeys((cell.vector, arm, cell.pole) for arm, cell in of)
        ordered = sorted(kinds, key=lambda kind: (kind[0], ADDING.index(kind[1]), kind[2]))
        return tuple(filter(None, (self._one(*kind) for kind in ordered)))

    def _one(self, vector: str, arm: Any, pole: Any) -> Series | None:
        baseline = self._answers.of("system", pole=pole) if pole else self._answers.of("baseline")
        prompts = {scenario(answer) for answer, _ in baseline}  # an unfinished run may lack some baselines
        steered = [each for each in self._answers.of(arm, vector=vector, pole=pole) if scenario(each[0]) in prompts]
        if not steered:
            return None
        group = curves(outcome(measured, self._facts.unit) for measured in (*baseline, *steered))
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

    def _curve(self, curve: Curve, vector: str, measured: Sequence[Measured]) -> CurvePoints:
        prompt = next(p for p in self._prompts if prompt_name(p.id, p.pressure) == curve.scenario)
        alphas: dict[float, list[Measured]] = {}
        for answer, marks in measured:
            if scenario(answer) == curve.scenario and answer.cell.layer in (None, curve.layer):
                alphas.setdefault(signed(answer.cell.alpha), []).append((answer, marks))
        return CurvePoints(
            curve.layer,
            prompt.id,
            prompt.title,
            prompt.pressure,
            success([curve]),
            _response([curve]),
            tuple(self._answers.point(alphas[alpha], vector, curve.layer) for alpha in sorted(alphas)),
        )

    def _comparison(self, vector: str, layer: int, low: float, high: float) -> ArmComparison:
        of = self._answers.of

        def steered(arm: str, strength: float, pole: str = "") -> Rate | None:
            at = of(arm, vector=vector, layer=layer, pole=pole, **{self._facts.unit: strength})
            return rate_of(at) if strength else None

        shares = [answer.cell.share or 0.0 for arm in ABLATING for answer, _ in of(arm, vector=vector, layer=layer)]
        share = max(shares, default=None)

        def ablated(arm: str) -> Rate | None:
            return rate_of(of(arm, vector=vector, layer=layer, share=share)) if share else None

        rates = ArmRates(
            baseline=rate_of(of("baseline")),
            vector_up=steered("vector", high),
            vector_down=steered("vector", low),
            random_up=steered("random", high),
            random_down=steered("random", low),
            prompt_positive=rate_of(of("system", pole="positive")),
            prompt_negative=rate_of(of("system", pole="negative")),
            both_up=steered("both", high, "positive"),
            both_down=steered("both", low, "negative"),
            ablated=ablated("ablate"),
            random_ablated=ablated("random-ablate"),
        )
        return ArmComparison(vector, layer, high or None, low or None, rates, share)


def _response(group: Sequence[Curve]) -> DoseResponse:
    return dose_response(group, resamples=_RESAMPLES)
