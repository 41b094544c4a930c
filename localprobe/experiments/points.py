"""One condition of a sweep as numbers: every measure over its samples, with 95 % intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp, sqrt
from typing import Any

import numpy as np

from localprobe.experiments.cells import Answer
from localprobe.experiments.curves import Curve
from localprobe.experiments.dose_response import DoseResponse, Estimate, dose_response
from localprobe.experiments.outcomes import Outcome
from localprobe.experiments.success import Success, success
from localprobe.stats.rates import Rate, rate

_RESAMPLES = 1000
_TEXTS = 2
"""Sample texts kept of a condition."""


def point(
    answers: Sequence[Answer],
    seen: Sequence[Outcome],
    baseline: Sequence[Answer],
    own: str = "",
    above: str = "",
) -> dict[str, Any]:
    """The measures of one condition, in the form that `localprobe.experiments.result` describes; at least one answer.

    `baseline` are the unsteered answers to the same prompt; `own` and `above` name the readings at the layer of the
    curve and above it.
    """
    cell = answers[0].cell
    return {
        "dose": cell.dose,
        "alpha": cell.alpha,
        "samples": len(answers),
        "rate": as_json(rate(sum(each.expresses for each in seen), len(seen))),
        "coherent": as_json(rate(sum(each.coherent for each in seen), len(seen))),
        "degenerate": as_json(rate(sum(each.degenerate for each in seen), len(seen))),
        "fooled": sum(each.degenerate and each.coherent for each in seen),
        "reasons": dict(Counter(reason for each in seen for reason in each.reasons).most_common()),
        "truncated": sum(bool(each.truncated) for each in seen),
        "tokens": float(np.mean([len(answer.ids) for answer in answers])),
        "score": mean([answer.scores.get(own) for answer in answers]),
        "score_above": mean([answer.scores.get(above) for answer in answers]),
        "reading": mean([_measure(answer, "readings", own) for answer in answers]),
        "reading_above": mean([_measure(answer, "readings", above) for answer in answers]),
        "perplexity": _perplexity(answers),
        "perplexity_ratio": _ratio(answers, baseline),
        "kl": _mean_or_none([answer.measures["kl"] for answer in answers if answer.measures]),
        "judge": mean([answer.judgement["score"] if answer.judgement else None for answer in answers]),
        "texts": [
            {
                "sample": answer.cell.sample,
                "text": answer.text,
                "expresses": outcome.expresses,
                "coherent": outcome.coherent,
                "reasons": list(outcome.reasons),
            }
            for answer, outcome in list(zip(answers, seen, strict=True))[:_TEXTS]
        ],
    }


def as_json(found: Rate | None) -> dict[str, Any] | None:
    """A share with its interval."""
    if found is None:
        return None
    return {"share": found.share, "low": found.interval[0], "high": found.interval[1], "of": found.of}


def success_json(found: Sequence[Curve]) -> dict[str, Any] | None:
    """Success over some curves; None of none."""
    if not found:
        return None
    s: Success = success(found)
    return {
        "paper": as_json(s.paper),
        "strict": as_json(s.strict),
        "raised": as_json(s.raised),
        "lowered": as_json(s.lowered),
        "null_effects": s.null_effects,
        "unchanged": s.unchanged,
        "broken": s.broken,
        "cells": s.cells,
    }


def response_json(found: Sequence[Curve]) -> dict[str, Any] | None:
    """Dose-response over some curves; None of none."""
    if not found:
        return None
    r: DoseResponse = dose_response(found, resamples=_RESAMPLES)
    two = r.two_ways
    return {
        "slope": _estimate(r.slope),
        "monotonicity": _estimate(r.monotonicity),
        "wrong_way": as_json(r.wrong_way),
        "usable": list(r.usable) if r.usable else None,
        "up": _estimate(two.up) if two else None,
        "down": _estimate(two.down) if two else None,
        "asymmetry": _estimate(two.asymmetry) if two else None,
    }


def _estimate(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.interval[0], "high": found.interval[1]}


def mean(values: Sequence[float | None]) -> dict[str, Any] | None:
    """The mean of those that are known, and its interval by Student's t; the interval is None for a single one."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    value = float(np.mean(known))
    if len(known) < 2:
        return {"value": value, "low": None, "high": None, "of": 1}
    half = _t(len(known) - 1) * float(np.std(known, ddof=1)) / sqrt(len(known))
    return {"value": value, "low": value - half, "high": value + half, "of": len(known)}


def _measure(answer: Answer, kind: str, name: str) -> float | None:
    found: float | None = answer.measures[kind].get(name) if answer.measures else None
    return found


def _losses(answers: Sequence[Answer]) -> list[float]:
    return [loss for answer in answers if answer.measures and (loss := answer.measures["nll"]) is not None]


def _perplexity(answers: Sequence[Answer]) -> float | None:
    losses = _losses(answers)
    return _exp(float(np.mean(losses))) if losses else None


def _ratio(answers: Sequence[Answer], baseline: Sequence[Answer]) -> dict[str, Any] | None:
    """Geometric mean perplexity over the baseline's, by the difference of the mean losses (Welch's interval)."""
    ours, theirs = _losses(answers), _losses(baseline)
    if not ours or not theirs:
        return None
    difference = float(np.mean(ours) - np.mean(theirs))
    if min(len(ours), len(theirs)) < 2:
        return {"value": _exp(difference), "low": None, "high": None, "of": len(ours)}
    errors = [float(np.var(each, ddof=1)) / len(each) for each in (ours, theirs)]
    spread = sum(errors)
    freedom = spread**2 / sum(e**2 / (len(x) - 1) for e, x in zip(errors, (ours, theirs), strict=True)) if spread else 1
    half = _t(freedom) * sqrt(spread) if spread else 0.0
    return {
        "value": _exp(difference),
        "low": _exp(difference - half),
        "high": _exp(difference + half),
        "of": len(ours),
    }


def _exp(value: float) -> float:
    return exp(min(value, 700.0))  # a float holds no more, and JSON no infinity


def _t(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _mean_or_none(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
