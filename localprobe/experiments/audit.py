"""All measures of steered generations that need no model: by model, layer, scenario and strength, and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from localprobe.experiments.curves import Condition, Curve, curves
from localprobe.experiments.dose_response import DoseResponse, dose_response
from localprobe.experiments.outcomes import Outcome
from localprobe.experiments.success import Success, success


@dataclass(frozen=True, slots=True)
class Audited:
    """Figures of a group of generations: of their curves, and of the texts. Intervals are 95 %."""

    samples: int
    success: Success
    response: DoseResponse
    coherence: float
    """Share that the paper's rule calls coherent, over all strengths, as in its Table 4."""
    degenerate: int
    fooled: int
    """Degenerate, and coherent by the paper's rule."""
    reasons: Mapping[str, int]
    """Reason -> degenerate texts, the most frequent first; a text may have several reasons."""
    inside_words: int
    """Texts whose verdict rests on a listed word inside another word."""
    unfinished: int
    """The text does not end as a sentence does."""
    truncated: int | None
    """Cut at the limit of tokens; None if that is not known of any."""
    conditions: tuple[Condition, ...]
    """The answers at each alpha, ascending."""

    @classmethod
    def of(cls, group: Sequence[Curve], outcomes: Sequence[Outcome], **more: Any) -> Self:
        """Measure at least one curve and the outcomes that they are made of; `more` are the fields of a subclass."""
        by_alpha: dict[float, list[Outcome]] = {}
        for outcome in outcomes:
            by_alpha.setdefault(outcome.alpha, []).append(outcome)
        reasons = Counter(reason for outcome in outcomes for reason in outcome.reasons)
        truncated = [outcome.truncated for outcome in outcomes if outcome.truncated is not None]
        return cls(
            samples=len(outcomes),
            success=success(group),
            response=dose_response(group),
            coherence=sum(outcome.coherent for outcome in outcomes) / len(outcomes),
            degenerate=sum(outcome.degenerate for outcome in outcomes),
            fooled=sum(outcome.degenerate and outcome.coherent for outcome in outcomes),
            reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
            inside_words=sum(outcome.inside_words for outcome in outcomes),
            unfinished=sum(outcome.unfinished for outcome in outcomes),
            truncated=sum(truncated) if truncated else None,
            conditions=tuple(Condition.of(by_alpha[alpha], alpha=alpha) for alpha in sorted(by_alpha)),
            **more,
        )


@dataclass(frozen=True, slots=True)
class AuditedCurve(Audited):
    """One scenario at one layer."""

    layer: int
    scenario: str
    baseline: float
    """The unsteered rate."""
    borrowed: tuple[int | None, ...]
    """The layers whose unsteered answers are used because this layer has none, see `Curve`."""
    effects: Mapping[str, float]
    """Alpha -> rate(alpha) - baseline."""


@dataclass(frozen=True, slots=True)
class AuditedModel(Audited):
    """One model, in total and by layer, scenario and strength."""

    layers: Mapping[int, Audited]
    scenarios: Mapping[str, Audited]
    curves: tuple[AuditedCurve, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit."""

    models: Mapping[str, AuditedModel]
    totals: Audited
    """All models together. Its dose-response means little if models differ in the scale of alpha."""


def audit(outcomes: Sequence[Outcome]) -> Audit:
    """Measure generations of one or several models; a model without steered answers is left out.

    Raises DataError if a baseline is missing or nothing is steered.
    """
    group = curves(outcomes)
    models = {
        name: _model(
            [curve for curve in group if curve.model == name],
            [outcome for outcome in outcomes if outcome.model == name],
        )
        for name in sorted({curve.model for curve in group})
    }
    return Audit(models, Audited.of(group, [outcome for outcome in outcomes if outcome.model in models]))


def _model(group: Sequence[Curve], outcomes: Sequence[Outcome]) -> AuditedModel:
    layers = {curve.layer: [item for item in group if item.layer == curve.layer] for curve in group}
    scenarios = {curve.scenario: [item for item in group if item.scenario == curve.scenario] for curve in group}
    return AuditedModel.of(
        group,
        outcomes,
        layers={layer: Audited.of(layers[layer], _outcomes(layers[layer], outcomes)) for layer in sorted(layers)},
        scenarios={
            name: Audited.of(scenarios[name], _outcomes(scenarios[name], outcomes)) for name in sorted(scenarios)
        },
        curves=tuple(
            AuditedCurve.of(
                [curve],
                _outcomes([curve], outcomes),
                layer=curve.layer,
                scenario=curve.scenario,
                baseline=curve.baseline.rate.share,
                borrowed=curve.borrowed,
                effects={f"{cell.alpha:g}": cell.effect for cell in curve.cells},
            )
            for curve in group
        ),
    )


def _outcomes(group: Sequence[Curve], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of some curves, with the baselines that they borrow."""
    steered = {(curve.model, curve.layer, curve.scenario) for curve in group}
    borrowing = {(curve.model, curve.scenario) for curve in group if curve.borrowed}
    return [
        outcome
        for outcome in outcomes
        if (outcome.model, outcome.layer, outcome.scenario) in steered
        or (outcome.alpha == 0 and (outcome.model, outcome.scenario) in borrowing)
    ]
