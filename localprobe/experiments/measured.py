"""The answers of one model in a sweep, each with its marks, and the measures of a condition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np

from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.model_measures import name_of
from localprobe.experiments.outcomes import Marks, Outcome, marks, prompt_name
from localprobe.experiments.points import Point, SampleText
from localprobe.stats.estimates import bounded_exp, geometric_ratio, mean
from localprobe.stats.rates import Rate, grouped_rate
from localprobe.text_metrics.degeneration import LATIN, script_of
from localprobe.text_metrics.word_lists import WordLists

_TEXTS = 2  # sample texts kept per condition
Measured: TypeAlias = tuple[CellAnswer, Marks]


class MeasuredAnswers:
    """The answers of one model. `above` gives the layer of the second reading of a vector at a layer."""

    def __init__(self, answers: Sequence[CellAnswer], lists: WordLists, above: Mapping[tuple[str, int], int]) -> None:
        self._above = above
        unsteered: dict[str, list[str]] = {}
        for answer in answers:
            if not answer.cell.vector:
                unsteered.setdefault(scenario(answer), []).append(answer.text)
        scripts = {name: script_of(texts) for name, texts in unsteered.items()}
        self.all: list[Measured] = [
            (answer, marks(answer.text, lists, script=scripts.get(scenario(answer), LATIN), reason=answer.reason))
            for answer in answers
        ]

    def of(self, arm: str, **values: Any) -> list[Measured]:
        """Answers of an arm whose cells have these values."""
        values["arm"] = arm
        return [
            (answer, marks)
            for answer, marks in self.all
            if all(getattr(answer.cell, name) == value for name, value in values.items())
        ]

    def point(self, measured: Sequence[Measured], vector: str = "", layer: int = 0) -> Point:
        """A condition with a signed strength and at least one answer, read by a vector at a layer and above it."""
        cell = measured[0][0].cell
        return Point.of(
            marks_of(measured),
            alpha=signed(cell.alpha),
            dose=signed(cell.dose),
            **self.measures(measured, vector, layer),
        )

    def measures(self, measured: Sequence[Measured], vector: str, layer: int) -> dict[str, Any]:
        """The fields of `Measures` besides the counts, of at least one answer."""
        cell = measured[0][0].cell
        answers, counted = [answer for answer, _ in measured], marks_of(measured)
        unsteered = [answer for answer, _ in self.of("baseline", scenario=cell.scenario, pressure=cell.pressure)]
        own, above = name_of(vector, layer), name_of(vector, self._above.get((vector, layer), layer))
        losses = _losses(answers)
        divergences = [answer.measures.kl for answer in answers if answer.measures]
        return {
            "reasons": dict(Counter(reason for text in counted for reason in text.reasons).most_common()),
            "truncated": sum(bool(text.truncated) for text in counted),
            "tokens": float(np.mean([len(answer.ids) for answer in answers])),
            "score": mean([answer.scores.get(own) for answer in answers]),
            "score_above": mean([answer.scores.get(above) for answer in answers]),
            "reading": mean([reading(answer, own) for answer in answers]),
            "reading_above": mean([reading(answer, above) for answer in answers]),
            "perplexity": bounded_exp(float(np.mean(losses))) if losses else None,
            "perplexity_ratio": geometric_ratio(losses, _losses(unsteered)),
            "kl": float(np.mean(divergences)) if divergences else None,
            "judge": mean([answer.judgement.score if answer.judgement else None for answer in answers]),
            "texts": tuple(
                SampleText(answer.cell.sample, answer.text, text.expresses, text.coherent, text.reasons)
                for answer, text in list(zip(answers, counted, strict=True))[:_TEXTS]
            ),
        }


def scenario(answer: CellAnswer) -> str:
    """The name of an answer's prompt."""
    return prompt_name(answer.cell.scenario, answer.cell.pressure)


def marks_of(measured: Iterable[Measured]) -> list[Marks]:
    """The marks alone."""
    return [marks for _, marks in measured]


def signed(strength: float | None) -> float:
    """A dose or an alpha of a cell that has them. ValueError for an ablation or an expression, which has none."""
    if strength is None:
        raise ValueError("an ablation and a steering expression have no dose and no alpha")
    return strength


def outcome(measured: Measured, unit: str) -> Outcome:
    """An answer with a signed strength, in a unit, as an outcome for curves."""
    answer, text = measured
    strength = signed(getattr(answer.cell, unit))
    return Outcome(
        answer.cell.model,
        answer.cell.layer,
        scenario(answer),
        strength,
        **{field.name: getattr(text, field.name) for field in fields(Marks)},
    )


def rate_of(measured: Iterable[Measured]) -> Rate | None:
    """Over all prompts; the interval treats a prompt as the unit. None without answers."""
    groups: dict[str, list[bool]] = {}
    for answer, text in measured:
        groups.setdefault(scenario(answer), []).append(text.expresses)
    return grouped_rate([(sum(group), len(group)) for group in groups.values()]) if groups else None


def readings(measured: Iterable[Measured], name: str) -> list[float]:
    """Those that were measured, under `vector:layer`."""
    return [value for answer, _ in measured if (value := reading(answer, name)) is not None]


def reading(answer: CellAnswer, name: str) -> float | None:
    """The reading of one answer; None if it was not measured."""
    return answer.measures.readings.get(name) if answer.measures else None


def _losses(answers: Sequence[CellAnswer]) -> list[float]:
    return [loss for answer in answers if answer.measures and (loss := answer.measures.nll) is not None]
