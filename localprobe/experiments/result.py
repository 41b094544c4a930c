"""The result of a sweep: what the report, `--json` and the app read.

    result = from_json(SweepResult, run.result)
    result.models[0].series[0].curves[0].points[0].rate.share

The fields are the keys of the stored JSON. `localprobe.experiments.summary` makes a result of the cells
so far, of an unfinished run or a merged store, so every part records what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from localprobe.engine import Sampler
from localprobe.experiments.ablation import AblationSeries
from localprobe.experiments.dose_response import DoseResponse
from localprobe.experiments.experiment import Pole, Unit
from localprobe.experiments.expression_result import ExpressionFacts, ExpressionResult
from localprobe.experiments.points import Point
from localprobe.experiments.success import Success
from localprobe.stats.rates import Rate
from localprobe.store.identity import ModelIdentity

PromptKey = tuple[str, bool]
"""A scenario, and whether it keeps its pressure."""


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """One prompt at one layer: its points by ascending strength, the baseline among them. The baseline of the arm
    `both` is the system prompt alone."""

    layer: int
    scenario: str
    title: str
    pressure: bool
    success: Success
    response: DoseResponse
    points: tuple[Point, ...]

    @property
    def key(self) -> PromptKey:
        return self.scenario, self.pressure


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """All prompts of a series at one layer."""

    layer: int
    auroc: float | None
    """Of the probe on pairs held out; None if not known."""
    success: Success
    response: DoseResponse
    coherent: Rate
    """Of the steered answers, by the paper's rule."""
    degenerate: Rate


@dataclass(frozen=True, slots=True)
class Series:
    """One arm with one vector, for all prompts that have unsteered answers."""

    vector: str
    arm: Literal["vector", "random", "both"]
    pole: Pole
    """Which system prompt was given, in the arm `both`."""
    success: Success
    response: DoseResponse
    layers: tuple[LayerSummary, ...]
    curves: tuple[CurvePoints, ...]

    def at(self, layer: int) -> list[CurvePoints]:
        """The curves of one layer."""
        return [curve for curve in self.curves if curve.layer == layer]

    def points(self, layer: int, prompt: PromptKey) -> tuple[Point, ...]:
        """The points of one curve; empty if there is none."""
        return next((curve.points for curve in self.at(layer) if curve.key == prompt), ())


@dataclass(frozen=True, slots=True)
class PromptSummary:
    """Answers to one prompt with no vector; None where an arm was not run."""

    scenario: str
    pressure: bool
    title: str
    baseline: Point | None
    positive: Point | None
    """Under the positive system prompt."""
    negative: Point | None

    def under(self, pole: Pole) -> Point | None:
        """The answers under a system prompt; the baseline for none."""
        return {"": self.baseline, "positive": self.positive, "negative": self.negative}[pole]

    @property
    def key(self) -> PromptKey:
        return self.scenario, self.pressure


@dataclass(frozen=True, slots=True)
class ArmRates:
    """Shares of answers in the concept's language over all prompts; None where an arm was not run. `up` and `down` are
    at the ends of the vector's usable range; `both` is a vector and the system prompt that pulls the same way."""

    baseline: Rate | None
    vector_up: Rate | None
    vector_down: Rate | None
    random_up: Rate | None
    random_down: Rate | None
    prompt_positive: Rate | None
    prompt_negative: Rate | None
    both_up: Rate | None
    both_down: Rate | None
    ablated: Rate | None = None
    """At the largest share that was run, as `random_ablated` is."""
    random_ablated: Rate | None = None


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """One vector at one layer, compared with a system prompt and with the ablation of its direction."""

    vector: str
    layer: int
    up: float | None
    """The largest strength that keeps answers usable, as all smaller ones do; None if there is none."""
    down: float | None
    rates: ArmRates
    share: float | None = None
    """The largest share that was ablated; None if none was."""


@dataclass(frozen=True, slots=True)
class VectorOrigin:
    """Where a vector comes from."""

    model: str
    method: str


@dataclass(frozen=True, slots=True)
class VectorLayer:
    """A vector at a layer that it steers, with its measures on held-out pairs."""

    layer: int
    above: int
    """The layer of the second reading."""
    auroc: float | None = None
    accuracy: float | None = None
    separation: float | None = None
    std_positive: float | None = None
    std_negative: float | None = None


@dataclass(frozen=True, slots=True)
class VectorFacts:
    """A vector that steered a model."""

    name: str
    identity: str
    """A hash of its file, or of its pairs and how it was fitted."""
    concept: str
    origin: VectorOrigin
    best: int | None
    layers: tuple[VectorLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts(ModelIdentity):
    """A model as it was swept."""

    label: str
    """Its group in a report; may be empty."""
    expected: int
    """Answers that the experiment needs from it."""
    unit: Unit
    """The unit of its strengths: dose or alpha."""
    rate: float | None
    """Tokens generated per second; None if not known."""
    vectors: tuple[VectorFacts, ...]
    expressions: tuple[ExpressionFacts, ...] = ()
    """The steering expressions on this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult(ModelFacts):
    """The result of one model."""

    done: int
    prompts: tuple[PromptSummary, ...]
    series: tuple[Series, ...]
    """By vector, then arm (`vector`, `random`, `both`), then pole."""
    sceptic: tuple[ArmComparison, ...]
    ablations: tuple[AblationSeries, ...] = ()
    """By vector, then arm (`ablate`, `random-ablate`)."""
    expressed: tuple[ExpressionResult, ...] = ()
    """In the order of `expressions`; those with answers."""

    def strength(self, point: Point) -> float:
        """The strength of a point, in `unit`."""
        return point.dose if self.unit == "dose" else point.alpha


@dataclass(frozen=True, slots=True)
class CellCounts:
    """Answers of an experiment, finished and expected."""

    expected: int
    done: int
    measured: int
    judged: int

    @property
    def missing(self) -> int:
        """Answers that are not yet generated."""
        return self.expected - self.done


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of an experiment, from all its answers or those so far."""

    format: int
    name: str
    concept: str
    positions: str
    samples: int
    """Answers to each condition."""
    tokens: int
    """The most tokens of an answer."""
    seed: int
    arms: tuple[str, ...]
    unit: Unit
    sampling: Sampler
    cells: CellCounts
    models: tuple[ModelResult, ...]
    """In the experiment's order."""
    shares: tuple[float, ...] = ()
    """Of the ablating arms."""
    steering: tuple[str, ...] = ()
    """Steering expressions."""
    counted: bool = True
    """Whether the experiment has word lists, by which answers are counted. Without them models have no `prompts`,
    `series`, `sceptic`, `ablations` or `expressed`; the other measures are with each answer
    (`localprobe.experiments.export`)."""

    @property
    def uncounted(self) -> str:
        """A message about what is missing because there are no word lists; empty if there are."""
        if self.counted:
            return ""
        return (
            f"No word lists of {self.concept!r}, so its language is not counted: shares of answers, success "
            "and dose-response are left out. `localprobe runs export` gives every answer with its probe readings, "
            "perplexity and KL."
        )
