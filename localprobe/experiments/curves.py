"""Dose-response curves: the rate of a pole's language at each strength, and its change from the unsteered rate.

A cell is (model, layer, scenario, alpha other than 0); its effect is rate(alpha) - rate(0), as in the paper.

The baseline, rate(0), belongs to a model, layer and scenario. Unsteered text has no layer, so a sweep may generate it
once. The samples of alpha 0 at a curve's own layer are its baseline; if that layer has none, all samples of alpha 0 of
the same model and scenario are, at any layer or none, and `Curve.borrowed` names those layers. They never come from
another model or scenario.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from localprobe.errors import DataError
from localprobe.experiments.outcomes import Marks, Outcome
from localprobe.stats.rates import Rate, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The answers of one condition, counted, whatever was done to the model."""

    samples: int
    rate: Rate
    """Answers that express the positive pole: the paper's empathy rate."""
    coherent: Rate
    """By the paper's rule."""
    degenerate: Rate
    fooled: int
    """Degenerate, and coherent by the paper's rule."""

    @classmethod
    def of(cls, marks: Sequence[Marks], **more: Any) -> Self:
        """Count texts, at least one; `more` are the further fields of a subclass."""
        return cls(
            samples=len(marks),
            rate=rate(sum(text.expresses for text in marks), len(marks)),
            coherent=rate(sum(text.coherent for text in marks), len(marks)),
            degenerate=rate(sum(text.degenerate for text in marks), len(marks)),
            fooled=sum(text.degenerate and text.coherent for text in marks),
            **more,
        )

    @property
    def usable(self) -> int:
        """Answers that are coherent and not degenerate."""
        return self.coherent.count - self.fooled

    @property
    def broken(self) -> bool:
        """Whether half of the answers or more are incoherent or degenerate."""
        return 2 * self.usable <= self.samples


@dataclass(frozen=True, slots=True)
class Condition(Counts):
    """The answers of one strength, which has a sign."""

    alpha: float


@dataclass(frozen=True, slots=True)
class CurveCell:
    """A strength other than 0, against the baseline of its curve."""

    condition: Condition
    baseline: float
    """The rate at alpha 0."""

    @property
    def alpha(self) -> float:
        """Never 0."""
        return self.condition.alpha

    @property
    def effect(self) -> float:
        """rate(alpha) - rate(0), in [-1, 1]."""
        return self.condition.rate.share - self.baseline

    @property
    def success(self) -> bool:
        """By the paper's rule, (alpha > 0) == (effect > 0), which counts a negative alpha that changes nothing."""
        return (self.alpha > 0) == (self.effect > 0)

    @property
    def strict(self) -> bool:
        """effect * alpha > 0: the rate changed in the right direction."""
        return self.effect * self.alpha > 0

    @property
    def null(self) -> bool:
        """A null effect that the paper's rule counts as a success."""
        return self.effect == 0 and self.alpha < 0


@dataclass(frozen=True, slots=True)
class Curve:
    """All strengths of one direction at one layer on one prompt."""

    model: str
    layer: int
    scenario: str
    baseline: Condition
    cells: tuple[CurveCell, ...]
    """By ascending alpha; at least one."""
    borrowed: tuple[int | None, ...] = ()
    """The layers whose samples of alpha 0 are used because this layer has none; empty if it has its own."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All strengths including 0, by ascending alpha."""
        return tuple(
            sorted((self.baseline, *(cell.condition for cell in self.cells)), key=lambda condition: condition.alpha)
        )


def curves(outcomes: Iterable[Outcome]) -> tuple[Curve, ...]:
    """The curves of some outcomes, by model, layer and scenario. Their order does not matter.

    DataError if there is no baseline for some curve, if a steered sample has no layer, or if nothing is steered.
    """
    steered: dict[tuple[str, int, str], dict[float, list[Outcome]]] = {}
    unsteered: dict[tuple[str, str], dict[int | None, list[Outcome]]] = {}
    for outcome in outcomes:
        if outcome.alpha == 0:
            unsteered.setdefault((outcome.model, outcome.scenario), {}).setdefault(outcome.layer, []).append(outcome)
        elif outcome.layer is None:
            raise DataError(
                f"a sample of {outcome.model} on {outcome.scenario} at alpha {outcome.alpha:g} has no layer"
            )
        else:
            at = steered.setdefault((outcome.model, outcome.layer, outcome.scenario), {})
            at.setdefault(outcome.alpha, []).append(outcome)
    if not steered:
        raise DataError("no sample has an alpha other than 0: there is no steering to measure")
    _check_baselines(steered, unsteered)
    pooled = {key: _pooled(layers) for key, layers in unsteered.items()}
    return tuple(
        _curve(key, alphas, unsteered[key[0], key[2]], pooled[key[0], key[2]])
        for key, alphas in sorted(steered.items(), key=lambda item: item[0])
    )


def _check_baselines(steered: Iterable[tuple[str, int, str]], unsteered: Iterable[tuple[str, str]]) -> None:
    measured = set(unsteered)
    without = sorted(key for key in steered if (key[0], key[2]) not in measured)
    if without:
        model, layer, scenario = without[0]
        rest = f", nor for {len(without) - 1} more" if len(without) > 1 else ""
        raise DataError(
            f"no baseline (alpha 0) for model {model!r}, layer {layer}, scenario {scenario!r}{rest}: an effect is a "
            "change from the unsteered rate, so add samples of alpha 0, at that layer or any other"
        )


def _pooled(layers: dict[int | None, list[Outcome]]) -> Condition:
    return Condition.of([outcome for outcomes in layers.values() for outcome in outcomes], alpha=0.0)


def _curve(
    key: tuple[str, int, str],
    alphas: dict[float, list[Outcome]],
    unsteered: dict[int | None, list[Outcome]],
    pooled: Condition,
) -> Curve:
    model, layer, scenario = key
    own = unsteered.get(layer)
    baseline = Condition.of(own, alpha=0.0) if own else pooled
    cells = tuple(CurveCell(Condition.of(alphas[alpha], alpha=alpha), baseline.rate.share) for alpha in sorted(alphas))
    borrowed = () if own else tuple(sorted(unsteered, key=lambda other: (other is not None, other or 0)))
    return Curve(model, layer, scenario, baseline, cells, borrowed)
