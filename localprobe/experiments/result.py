"""The result of a sweep, out of its cells: one JSON object that the report, `--json` and the app read.

It can be made of any cells that are there, half a run's or a merged store's, and says how many are missing.

    format                      1
    name, concept, unit         unit: what strengths were given in, `dose` or `alpha`
    positions, samples, tokens, sampling, seed, arms
    cells                       {expected, done, measured, judged}
    models                      a list, in the experiment's order:
      model, engine, label, weights, dtype, quantisation, device, version, expected, done
      rate                      tokens a second that were generated; null if not known
      vectors                   [{name, concept, best, origin, layers: [{layer, above, auroc?, accuracy?, ...}]}]
      prompts                   [{scenario, title, pressure, baseline: POINT, positive: POINT?, negative: POINT?}]:
                                unsteered answers, and those under each system prompt where the arms have them
      series                    a list; one for each vector, arm (`vector`, `random`, `both`) and pole (of `both`):
        vector, arm, pole, success: SUCCESS, response: RESPONSE
        layers                  [{layer, auroc?, success, response, coherent: RATE, degenerate: RATE}]
        curves                  [{layer, scenario, title, pressure, success, response, points: [POINT]}], the points
                                by ascending strength, the baseline (of `both`: the system prompt alone) among them
      sceptic                   what the vector does that a prompt does not: a list, one for each vector and layer:
        vector, layer, up, down   the largest strengths each way that keep answers usable, and at all smaller ones
        rates                   RATE or null, over all prompts with their pressure as it is, of `baseline`,
                                `vector_up`, `vector_down`, `random_up`, `random_down`, `prompt_positive`,
                                `prompt_negative`, `both_up`, `both_down` (prompt and vector pulling the same way)

    RATE       {share, low, high, of}: 95 %
    MEAN       {value, low, high, of}; low and high are null for a single value
    POINT      {dose, alpha, samples, rate, coherent, degenerate: RATE, fooled, reasons: {words: count}, truncated,
               tokens, score, score_above, reading, reading_above: MEAN or null, perplexity,
               perplexity_ratio: MEAN or null, kl, judge: MEAN or null,
               texts: [{sample, text, expresses, coherent, reasons}]}
               `rate` is the share of answers in which the positive pole's words outnumber the other's; `fooled` counts
               degenerate answers that the paper's rule calls coherent; `score` is the probe's as it was while steered,
               the added vector in it; `reading` is the probe's of the same text with nothing added
    SUCCESS    {paper, strict: RATE, raised, lowered: RATE or null, null_effects, unchanged, broken, cells}, or null
    RESPONSE   {slope, monotonicity: ESTIMATE, wrong_way: RATE, usable: [low, high] or null,
               up, down, asymmetry: ESTIMATE or null}, or null; ESTIMATE is {value, low, high}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localprobe.experiments.cells import Answer
from localprobe.experiments.curves import Curve, curves
from localprobe.experiments.dose_response import usable_range
from localprobe.experiments.model_measures import name_of
from localprobe.experiments.outcomes import Outcome, Sample, outcomes
from localprobe.experiments.points import as_json, point, response_json, success_json
from localprobe.stats.rates import grouped_rate
from localprobe.text_metrics.word_lists import WordLists


def result_of(about: Mapping[str, Any], answers: Sequence[Answer]) -> dict[str, Any]:
    """The result of the answers of a run; `about` is its run's, with `experiment` and `models`."""
    experiment = about["experiment"]
    order = [_choice(each) for each in experiment["models"]]
    known = sorted(about["models"], key=lambda facts: order.index(facts["choice"]))
    models = [_Model(experiment, facts, answers) for facts in known]
    return {
        "format": 1,
        **{name: experiment[name] for name in ("name", "concept", "positions", "samples", "tokens", "seed", "arms")},
        "unit": experiment["strengths"]["unit"],
        "sampling": experiment["sampler"],
        "cells": {
            "expected": sum(facts["expected"] for facts in about["models"]) + sum(about.get("waiting", {}).values()),
            "done": len(answers),
            "measured": sum(answer.measures is not None for answer in answers),
            "judged": sum(answer.judgement is not None for answer in answers),
        },
        "models": [model.as_json() for model in models],
    }


def _choice(model: Mapping[str, Any]) -> str:
    """A model as `ModelChoice` calls it."""
    return f"{model['name']} on {model['engine']}" if model["engine"] else str(model["name"])


@dataclass(frozen=True, slots=True)
class _Place:
    """A prompt."""

    scenario: str
    pressure: bool

    def __str__(self) -> str:
        return self.scenario if self.pressure else f"{self.scenario}, no pressure"


class _Model:
    """The part of a result that is of one model."""

    def __init__(self, experiment: Mapping[str, Any], facts: Mapping[str, Any], answers: Sequence[Answer]) -> None:
        self._experiment, self._facts = experiment, facts
        self._answers = [a for a in answers if (a.cell.model, a.cell.engine) == (facts["model"], facts["engine"])]
        words = experiment["words"]
        lists = WordLists(tuple(words["positive"]), tuple(words["negative"]))
        self._unit = _unit(experiment, facts)
        samples = [self._sample(answer) for answer in self._answers]
        self._seen = dict(zip((a.cell.key for a in self._answers), outcomes(samples, lists), strict=True))
        self._titles = {(each["id"], each["pressure"]): each["title"] for each in experiment["prompts"]}
        layers = {(each["name"], at["layer"]): at for each in facts["vectors"] for at in each["layers"]}
        self._above = {key: at["above"] for key, at in layers.items()}
        self._auroc = {key: at.get("auroc") for key, at in layers.items()}

    def as_json(self) -> dict[str, Any]:
        names = ("model", "engine", "label", "weights", "dtype", "quantisation", "device", "version", "expected")
        return {
            **{name: self._facts[name] for name in names},
            "unit": self._unit,
            "done": len(self._answers),
            "rate": self._facts.get("rate"),
            "vectors": self._facts["vectors"],
            "prompts": self._prompts(),
            "series": self._series(),
            "sceptic": self._sceptic(),
        }

    def _sample(self, answer: Answer) -> Sample:
        cell = answer.cell
        strength = cell.dose if self._unit == "dose" else cell.alpha
        place = _Place(cell.scenario, cell.pressure)
        return Sample(cell.model, cell.layer, str(place), strength, answer.text, answer.reason)

    def _of(self, *arms: str, **wanted: Any) -> list[Answer]:
        return [
            answer
            for answer in self._answers
            if answer.cell.arm in arms and all(getattr(answer.cell, name) == value for name, value in wanted.items())
        ]

    def _places(self) -> list[_Place]:
        return [_Place(scenario, pressure) for scenario, pressure in self._titles]

    def _point(self, answers: Sequence[Answer], vector: str = "", layer: int = 0) -> dict[str, Any] | None:
        """The point of one condition, read by a vector at a layer and above it."""
        if not answers:
            return None
        cell = answers[0].cell
        plain = self._of("baseline", scenario=cell.scenario, pressure=cell.pressure)
        names = [name_of(vector, at) for at in (layer, self._above.get((vector, layer), layer))]
        return point(answers, [self._seen[answer.cell.key] for answer in answers], plain, *names)

    def _prompts(self) -> list[dict[str, Any]]:
        found = []
        for place in self._places():
            of = {"scenario": place.scenario, "pressure": place.pressure}
            found.append(
                {
                    **of,
                    "title": self._titles[place.scenario, place.pressure],
                    "baseline": self._point(self._of("baseline", **of)),
                    "positive": self._point(self._of("system", pole="positive", **of)),
                    "negative": self._point(self._of("system", pole="negative", **of)),
                }
            )
        return found

    def _series(self) -> list[dict[str, Any]]:
        kinds = dict.fromkeys(
            (answer.cell.vector, answer.cell.arm, answer.cell.pole) for answer in self._answers if answer.cell.vector
        )
        order = ("vector", "random", "both")
        return [self._one(*kind) for kind in sorted(kinds, key=lambda kind: (kind[0], order.index(kind[1]), kind[2]))]

    def _one(self, vector: str, arm: str, pole: str) -> dict[str, Any]:
        steered = self._of(arm, vector=vector, pole=pole)
        plain = self._plain(pole)
        known = {(answer.cell.scenario, answer.cell.pressure) for answer in plain}
        steered = [a for a in steered if (a.cell.scenario, a.cell.pressure) in known]  # half a run may lack a baseline
        found = curves(self._seen[answer.cell.key] for answer in (*plain, *steered)) if steered else ()
        layers = sorted({curve.layer for curve in found})
        return {
            "vector": vector,
            "arm": arm,
            "pole": pole,
            "success": success_json(found),
            "response": response_json(found),
            "layers": [self._layer(vector, layer, [each for each in found if each.layer == layer]) for layer in layers],
            "curves": [self._curve(curve, vector, [*plain, *steered]) for curve in found],
        }

    def _plain(self, pole: str) -> list[Answer]:
        return self._of("system", pole=pole) if pole else self._of("baseline")

    def _layer(self, vector: str, layer: int, found: Sequence[Curve]) -> dict[str, Any]:
        steered = [cell.condition for curve in found for cell in curve.cells]
        return {
            "layer": layer,
            "auroc": self._auroc.get((vector, layer)),
            "success": success_json(found),
            "response": response_json(found),
            "coherent": as_json(grouped_rate([(each.coherent, each.samples) for each in steered])),
            "degenerate": as_json(grouped_rate([(each.degenerate, each.samples) for each in steered])),
        }

    def _curve(self, curve: Curve, vector: str, answers: Sequence[Answer]) -> dict[str, Any]:
        place = next(place for place in self._places() if str(place) == curve.scenario)
        of = [
            answer
            for answer in answers
            if (answer.cell.scenario, answer.cell.pressure) == (place.scenario, place.pressure)
            and answer.cell.layer in (None, curve.layer)
        ]
        alphas = sorted({answer.cell.alpha for answer in of})
        return {
            "layer": curve.layer,
            "scenario": place.scenario,
            "title": self._titles[place.scenario, place.pressure],
            "pressure": place.pressure,
            "success": success_json([curve]),
            "response": response_json([curve]),
            "points": [self._point([a for a in of if a.cell.alpha == alpha], vector, curve.layer) for alpha in alphas],
        }

    def _sceptic(self) -> list[dict[str, Any]]:
        found = []
        for vector, layer, usable in self._usable():
            low, high = usable or (0.0, 0.0)
            up, down = (high if high > 0 else None), (low if low < 0 else None)
            at = {"vector": vector, "layer": layer}
            found.append(
                {
                    **at,
                    "up": up,
                    "down": down,
                    "rates": {
                        "baseline": self._rate(self._of("baseline")),
                        "vector_up": self._rate(self._strong("vector", up, **at)),
                        "vector_down": self._rate(self._strong("vector", down, **at)),
                        "random_up": self._rate(self._strong("random", up, **at)),
                        "random_down": self._rate(self._strong("random", down, **at)),
                        "prompt_positive": self._rate(self._of("system", pole="positive")),
                        "prompt_negative": self._rate(self._of("system", pole="negative")),
                        "both_up": self._rate(self._strong("both", up, pole="positive", **at)),
                        "both_down": self._rate(self._strong("both", down, pole="negative", **at)),
                    },
                }
            )
        return found

    def _usable(self) -> list[tuple[str, int, tuple[float, float] | None]]:
        """Each vector and layer with its usable range."""
        found = []
        for vector, layer in sorted(self._above):
            plain, steered = self._of("baseline"), self._of("vector", vector=vector, layer=layer)
            known = {(answer.cell.scenario, answer.cell.pressure) for answer in plain}
            steered = [a for a in steered if (a.cell.scenario, a.cell.pressure) in known]
            if steered:
                of = curves(self._seen[answer.cell.key] for answer in (*plain, *steered))
                conditions = (condition for curve in of for condition in curve.conditions)
                found.append((vector, layer, usable_range(conditions)))
        return found

    def _strong(self, arm: str, strength: float | None, **at: Any) -> list[Answer]:
        return [answer for answer in self._of(arm, **at) if getattr(answer.cell, self._unit) == strength]

    def _rate(self, answers: Iterable[Answer]) -> dict[str, Any] | None:
        """Over all prompts, which the interval takes as the unit."""
        groups: dict[tuple[str, bool], list[Outcome]] = {}
        for answer in answers:
            groups.setdefault((answer.cell.scenario, answer.cell.pressure), []).append(self._seen[answer.cell.key])
        if not groups:
            return None
        return as_json(grouped_rate([(sum(o.expresses for o in each), len(each)) for each in groups.values()]))


def _unit(experiment: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """What a model's strengths were given in: its own, where it has some."""
    return str(facts.get("unit") or experiment["strengths"]["unit"])
