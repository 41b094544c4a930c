"""What a sweep's result holds of steering expressions: each is one condition, against the unsteered answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localprobe.experiments.points import Measures
from localprobe.stats.estimates import Estimate, Mean


@dataclass(frozen=True, slots=True)
class ExpressionFacts:
    """A steering expression on a model."""

    text: str
    """In its canonical form."""
    operator: str
    """What its terms do, joined by ` + `."""
    vector: str
    """The vector that its answers are read by: the first that it names."""
    layer: int
    """The layer of the reading."""
    above: int
    """The layer of the second reading."""
    identities: Mapping[str, str]
    """Of each vector and probe that it names: a hash of its file, or of its pairs and how it was fitted."""
    thresholds: tuple[float, ...] = ()
    """The bounds of its caps and gates on this model, calibrated ones included, in the order of the expression."""


@dataclass(frozen=True, slots=True)
class ExpressionPoint:
    """An expression on one prompt; both conditions are read by its vector."""

    scenario: str
    title: str
    pressure: bool
    unsteered: Measures
    steered: Measures

    @property
    def key(self) -> tuple[str, bool]:
        """The scenario, and whether it keeps its pressure."""
        return self.scenario, self.pressure


@dataclass(frozen=True, slots=True)
class ExpressionResult:
    """An expression on all prompts that have unsteered answers."""

    expression: str
    change: Estimate
    """The rate minus the unsteered one."""
    reading: Mean | None
    """The change of the probe's reading of the texts, with nothing added; None if not measured. Over prompts, or for a
    single prompt over its answers."""
    points: tuple[ExpressionPoint, ...]
