"""The measures of one condition of a sweep over its answers, with 95 % intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.outcomes import Outcome
from localprobe.experiments.result import Point, SampleText
from localprobe.stats.estimates import bounded_exp, geometric_ratio, mean

_TEXTS = 2
"""Sample texts kept per condition."""


def point(
    answers: Sequence[CellAnswer],
    outcomes: Sequence[Outcome],
    baseline: Sequence[CellAnswer],
    own: str = "",
    above: str = "",
) -> Point:
    """The measures of one condition with at least one answer.

    `baseline` are the unsteered answers to the same prompt; `own` and `above` name the readings at the layer of the
    curve and above it.
    """
    losses = _losses(answers)
    divergences = [answer.measures.kl for answer in answers if answer.measures]
    return Point.of(
        answers[0].cell.alpha,
        outcomes,
        dose=answers[0].cell.dose,
        reasons=dict(Counter(reason for outcome in outcomes for reason in outcome.reasons).most_common()),
        truncated=sum(bool(outcome.truncated) for outcome in outcomes),
        tokens=float(np.mean([len(answer.ids) for answer in answers])),
        score=mean([answer.scores.get(own) for answer in answers]),
        score_above=mean([answer.scores.get(above) for answer in answers]),
        reading=mean([_reading(answer, own) for answer in answers]),
        reading_above=mean([_reading(answer, above) for answer in answers]),
        perplexity=bounded_exp(float(np.mean(losses))) if losses else None,
        perplexity_ratio=geometric_ratio(losses, _losses(baseline)),
        kl=float(np.mean(divergences)) if divergences else None,
        judge=mean([answer.judgement.score if answer.judgement else None for answer in answers]),
        texts=tuple(
            SampleText(answer.cell.sample, answer.text, outcome.expresses, outcome.coherent, outcome.reasons)
            for answer, outcome in list(zip(answers, outcomes, strict=True))[:_TEXTS]
        ),
    )


def _reading(answer: CellAnswer, name: str) -> float | None:
    return answer.measures.readings.get(name) if answer.measures else None


def _losses(answers: Sequence[CellAnswer]) -> list[float]:
    return [loss for answer in answers if answer.measures and (loss := answer.measures.nll) is not None]
