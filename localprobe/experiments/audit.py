"""All measures of steered generations that need no model: by model, layer, scenario and strength, and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localprobe.experiments.curves import Condition, Curve, curves
from localprobe.experiments.dose_response import DoseResponse, Estimate, dose_response
from localprobe.experiments.outcomes import Outcome
from localprobe.experiments.success import Success, success
from localprobe.stats.rates import Rate, rate


@dataclass(frozen=True, slots=True)
class Group:
    """Some curves and the outcomes that they are made of."""

    curves: tuple[Curve, ...]
    outcomes: tuple[Outcome, ...]
    success: Success
    dose_response: DoseResponse
    by_alpha: tuple[Condition, ...]
    """All outcomes of like alpha together, by ascending alpha."""

    @classmethod
    def of(cls, found: Sequence[Curve], seen: Sequence[Outcome]) -> Group:
        """Measure at least one curve."""
        by_alpha: dict[float, list[Outcome]] = {}
        for each in seen:
            by_alpha.setdefault(each.alpha, []).append(each)
        conditions = tuple(Condition.of(alpha, by_alpha[alpha]) for alpha in sorted(by_alpha))
        return cls(tuple(found), tuple(seen), success(found), dose_response(found), conditions)

    @property
    def coherence(self) -> float:
        """Share of the outcomes that the paper's rule calls coherent, over all strengths, as in its Table 4."""
        return sum(each.coherent for each in self.outcomes) / len(self.outcomes)

    @property
    def degenerate(self) -> int:
        """Outcomes that some instrument names."""
        return sum(each.degenerate for each in self.outcomes)

    @property
    def fooled(self) -> int:
        """Degenerate outcomes that the paper's rule calls coherent."""
        return sum(each.fooled for each in self.by_alpha)

    @property
    def inside_words(self) -> int:
        """Outcomes whose language is judged by a word of the lists inside another word."""
        return sum(each.inside_words for each in self.outcomes)

    @property
    def reasons(self) -> dict[str, int]:
        """How many outcomes are degenerate for which reason, the most frequent first; one may have several."""
        counts = Counter(reason for each in self.outcomes for reason in each.reasons)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def as_json(self) -> dict[str, Any]:
        """Every figure but the dose-response. Intervals are [low, high], 95 %."""
        return {
            "samples": len(self.outcomes),
            **_success_json(self.success),
            "coherence": self.coherence,
            "degenerate": self.degenerate,
            "degenerate_yet_coherent": self.fooled,
            "reasons": self.reasons,
            "inside_words": self.inside_words,
            "unfinished": sum(each.unfinished for each in self.outcomes),
            "truncated": None
            if all(each.truncated is None for each in self.outcomes)
            else sum(bool(each.truncated) for each in self.outcomes),
            "rate_by_alpha": {f"{each.alpha:g}": each.rate for each in self.by_alpha},
            "coherence_by_alpha": {f"{each.alpha:g}": each.coherent / each.samples for each in self.by_alpha},
            "degeneration_by_alpha": {f"{each.alpha:g}": each.degenerate / each.samples for each in self.by_alpha},
            "by_alpha": {f"{each.alpha:g}": _condition_json(each) for each in self.by_alpha},
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """What generations show."""

    models: dict[str, Group]
    totals: Group
    """All models together. Its dose-response means little where models have other scales of alpha."""

    def as_json(self) -> dict[str, Any]:
        """`models`, each with its `layers`, `scenarios` and `curves`, and `totals`."""
        return {
            "models": {name: {"model": name, **_model_json(group)} for name, group in self.models.items()},
            "totals": self.totals.as_json(),
        }


def audit(seen: Sequence[Outcome]) -> Audit:
    """Measure generations of one or several models; a model that is nowhere steered is left out.

    DataError where a baseline is missing, or nothing is steered.
    """
    found = curves(seen)
    models = {
        name: Group.of([c for c in found if c.model == name], [o for o in seen if o.model == name])
        for name in sorted({curve.model for curve in found})
    }
    return Audit(models, Group.of(found, [each for each in seen if each.model in models]))


def part(group: Group, *, layer: int | None = None, scenario: str | None = None) -> Group:
    """The curves of a layer, of a scenario, or of both, with the baselines that they borrow."""
    chosen = [c for c in group.curves if layer in (None, c.layer) and scenario in (None, c.scenario)]
    steered = {(curve.model, curve.layer, curve.scenario) for curve in chosen}
    borrowing = {(curve.model, curve.scenario) for curve in chosen if curve.borrowed}
    seen = [
        each
        for each in group.outcomes
        if (each.model, each.layer, each.scenario) in steered
        or (each.alpha == 0 and (each.model, each.scenario) in borrowing)
    ]
    return Group.of(chosen, seen)


def layers(group: Group) -> dict[int, Group]:
    """A group for each layer."""
    return {layer: part(group, layer=layer) for layer in sorted({curve.layer for curve in group.curves})}


def scenarios(group: Group) -> dict[str, Group]:
    """A group for each scenario."""
    return {name: part(group, scenario=name) for name in sorted({curve.scenario for curve in group.curves})}


def _model_json(group: Group) -> dict[str, Any]:
    return {
        **_group_json(group),
        "layers": {str(layer): _group_json(each) for layer, each in layers(group).items()},
        "scenarios": {name: _group_json(each) for name, each in scenarios(group).items()},
        "curves": [
            _curve_json(curve, part(group, layer=curve.layer, scenario=curve.scenario)) for curve in group.curves
        ],
    }


def _curve_json(curve: Curve, group: Group) -> dict[str, Any]:
    about = {"layer": curve.layer, "scenario": curve.scenario, "baseline": curve.baseline.rate}
    effects = {f"{cell.alpha:g}": cell.effect for cell in curve.cells}
    return {**about, "baseline_from_layers": list(curve.borrowed), "effects": effects, **_group_json(group)}


def _group_json(group: Group) -> dict[str, Any]:
    return {**group.as_json(), **_dose_response_json(group.dose_response)}


def _success_json(found: Success) -> dict[str, Any]:
    return {
        "cells": found.cells,
        **_rate_json("paper_success", found.paper),
        **_rate_json("strict_success", found.strict),
        "null_effects": found.null_effects,
        "unchanged": found.unchanged,
        "broken_successes": found.broken,
        **_rate_json("strict_success_up", found.raised),
        **_rate_json("strict_success_down", found.lowered),
    }


def _dose_response_json(found: DoseResponse) -> dict[str, Any]:
    ways = found.two_ways
    up, down, asymmetry = (ways.up, ways.down, ways.asymmetry) if ways else (None, None, None)
    return {
        **_estimate_json("slope", found.slope),
        **_estimate_json("monotonicity", found.monotonicity),
        **_rate_json("wrong_way", found.wrong_way),
        "usable_range": list(found.usable) if found.usable else None,
        **_estimate_json("effect_up", up),
        **_estimate_json("effect_down", down),
        **_estimate_json("asymmetry", asymmetry),
    }


def _condition_json(found: Condition) -> dict[str, Any]:
    return {
        "samples": found.samples,
        **_rate_json("rate", rate(found.expressing, found.samples)),
        **_rate_json("coherence", rate(found.coherent, found.samples)),
        **_rate_json("degeneration", rate(found.degenerate, found.samples)),
        "degenerate_yet_coherent": found.fooled,
    }


def _rate_json(name: str, found: Rate | None) -> dict[str, Any]:
    return {name: found and found.share, f"{name}_interval": found and list(found.interval)}


def _estimate_json(name: str, found: Estimate | None) -> dict[str, Any]:
    return {name: found and found.value, f"{name}_interval": found and list(found.interval)}
