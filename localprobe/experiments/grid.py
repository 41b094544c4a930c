"""The cells of an experiment on one model. A cell is one answer, named by a hash of everything that it depends on.

Two hashes. `key` names the answer: weights, engine, vector, layer, strength, prompt, template, system, positions,
sampler, tokens, sample and seed. `stream` names its random numbers and leaves the engine out, so that engines can be
compared on the same draws. Neither depends on anything measured (a dose is the requested dose, a fitted vector is
named by its pairs, a calibrated threshold by its rate and a mean by its word), nor on order or batch, so two machines
give a cell the same name. A steering expression is named by its canonical text and the identities of its vectors.

The strength of an addition is a dose or an alpha, which have a sign. That of an ablation is a share from 0 to 1. An
expression has none: its text says all. A cell holds None where a strength means nothing.

An unsteered answer does not depend on layer, vector or arm: it is one cell, generated once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from localprobe.chat_template import template_key
from localprobe.engine import FloatArray, Info
from localprobe.errors import UsageError
from localprobe.experiments.experiment import (
    ABLATING,
    Experiment,
    LayerChoice,
    ModelChoice,
    Pole,
    PromptChoice,
    Strengths,
    sha256,
)
from localprobe.experiments.expressions import Resolved
from localprobe.steering.knob import Knob
from localprobe.vectors.vector import Direction, Origin, Vector

BASELINE = "baseline"
EXPRESSION = "steering"
"""The arm of the steering expressions."""
_RANDOM = ("random", "random-ablate")
"""Arms with a random direction."""
_POLES: tuple[Pole, Pole] = ("positive", "negative")
_NO_DOSE: dict[str, Any] = {"dose": None, "alpha": None}
_ABOVE = 4
"""Layers between the steered one and a second reading, which does not contain alpha directly."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One answer to generate."""

    key: str
    stream: str
    model: str
    engine: str
    label: str
    arm: str
    """`baseline` (no vector, no system prompt), one of `ARMS`, or `steering` (an expression)."""
    scenario: str
    pressure: bool
    pole: Pole
    """Which system prompt, if any."""
    vector: str
    """Its name in the experiment; empty if unsteered. Of an expression, the one that its answers are read by."""
    layer: int | None
    """The layer of the vector's direction. An ablation acts at every layer along it, an expression where it says."""
    dose: float | None
    """The requested dose, or the dose of the requested alpha on this model; 0 if unsteered; None for an ablation and an
    expression."""
    alpha: float | None
    """None where the dose is."""
    sample: int
    operator: str = ""
    """What is done to the residuals: `add`, `ablate`; of an expression what its terms do, joined by ` + `; empty if
    unsteered."""
    share: float | None = None
    """Of an ablation: the share taken away, above 0 and up to 1."""
    steering: str = ""
    """The expression, in its canonical form."""

    @property
    def treatment(self) -> str:
        """How it is steered, in words: `unsteered`, `+0.30` (a dose), `ablated, share 1`, or the expression."""
        if self.steering:
            return self.steering
        if self.share is not None:
            return f"ablated, share {self.share:g}"
        return f"{self.dose:+.2f}" if self.dose else "unsteered"


@dataclass(frozen=True, slots=True, eq=False)
class Steered:
    """A vector of the experiment on this model."""

    name: str
    identity: str
    """Its identity in keys: a hash of its file, or of its pairs and how it was fitted."""
    vector: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The cells of one model of an experiment."""

    experiment: Experiment
    choice: ModelChoice
    info: Info
    scale: FloatArray
    """(layers,) median residual length."""
    vectors: tuple[Steered, ...]
    expressions: tuple[Resolved, ...] = ()

    def cells(self) -> list[Cell]:
        """Every cell once, grouped by prompt and steering."""
        return list({cell.key: cell for cell in self._cells()}.values())

    def layers(self, steered: Steered) -> list[int]:
        """The layers to steer with a vector. UsageError for one that the model or the vector lacks."""
        choices = self.choice.layers or self.experiment.layers
        return list(dict.fromkeys(_layer(choice, steered.vector, self.info) for choice in choices))

    def above(self, layer: int) -> int:
        """The layer of the second reading."""
        return min(layer + _ABOVE, self.info.layers - 1)

    @property
    def strengths(self) -> Strengths:
        """The model's own strengths, or the experiment's."""
        return self.choice.strengths or self.experiment.strengths

    def prompt(self, cell: Cell) -> PromptChoice:
        """The prompt of a cell."""
        return self._prompts[cell.scenario, cell.pressure]

    def system(self, pole: Pole) -> str:
        """The text of a system prompt, empty for none."""
        return getattr(self.experiment.system, pole) if pole else ""

    def knobs(self, cell: Cell) -> list[Knob]:
        """The knobs of a cell."""
        if cell.steering:
            return list(next(item for item in self.expressions if item.text == cell.steering).knobs)
        if cell.layer is None:
            return []
        steered = next(item for item in self.vectors if item.name == cell.vector)
        vector = self.random(steered, cell.layer, cell.sample) if cell.arm in _RANDOM else steered.vector
        if cell.share is not None:
            every = tuple(range(self.info.capabilities.first_layer, self.info.layers))
            return [
                Knob(
                    vector,
                    cell.layer,
                    cell.share,
                    self.experiment.positions,
                    operator="ablate",
                    layers=every,
                    source=cell.layer,
                )
            ]
        return [Knob(vector, cell.layer, cell.alpha or 0.0, self.experiment.positions)]

    @staticmethod
    def condition(cell: Cell) -> tuple[object, ...]:
        """What the steering of a cell and its prompt depend on: equal for the samples of a condition, except where each
        has a direction of its own."""
        sample = cell.sample if cell.arm in _RANDOM else None
        prompt = cell.scenario, cell.pressure, cell.pole
        return *prompt, cell.arm, cell.vector, cell.layer, cell.alpha, cell.share, cell.steering, sample

    def random(self, steered: Steered, layer: int, sample: int) -> Vector:
        """A random direction as long as the vector. Each sample has its own, so that no single direction decides."""
        digest = sha256(["random direction", self.experiment.seed, steered.identity, layer, sample])
        noise = np.random.default_rng(int(digest[:32], 16)).standard_normal(self.info.width)
        length = steered.vector.directions[layer].length
        direction = Direction(np.asarray(noise / np.linalg.norm(noise) * length, dtype=np.float32))
        return Vector("random", Origin(self.info.model), {layer: direction}, layer)

    @property
    def _prompts(self) -> Mapping[tuple[str, bool], PromptChoice]:
        return {(prompt.id, prompt.pressure): prompt for prompt in self.experiment.prompts}

    def _cells(self) -> Iterator[Cell]:
        arms = self.experiment.arms
        for prompt in self.experiment.prompts:
            yield from self._samples(prompt, BASELINE)
            if "system" in arms or "both" in arms:  # `both` is measured against the system prompt alone
                for pole in _POLES:
                    yield from self._samples(prompt, "system", pole)
            for steered in self.vectors:
                for layer in self.layers(steered):
                    for value in self.strengths.values:
                        if value:
                            yield from self._added(prompt, steered, layer, value)
                    for arm in (arm for arm in ABLATING if arm in arms):
                        for share in self.experiment.shares:
                            yield from self._ablated(prompt, arm, steered, layer, share)
            for expression in self.expressions:
                yield from self._expressed(prompt, expression)

    def _added(self, prompt: PromptChoice, steered: Steered, layer: int, value: float) -> Iterator[Cell]:
        arms = self.experiment.arms
        alpha, dose = self._both_units(steered, layer, value)
        kinds: list[tuple[str, Pole]] = [(arm, "") for arm in ("vector", "random") if arm in arms]
        kinds += [("both", pole) for pole in _POLES if "both" in arms]
        for arm, pole in kinds:
            is_random = arm == "random"
            content = [steered.identity, is_random, layer, self.strengths.unit, value, self.experiment.positions]
            where = {"vector": steered.name, "layer": layer, "dose": dose, "alpha": alpha, "operator": "add"}
            yield from self._samples(prompt, arm, pole, content, **where)

    def _ablated(self, prompt: PromptChoice, arm: str, steered: Steered, layer: int, share: float) -> Iterator[Cell]:
        content = [steered.identity, arm, layer, "share", share, self.experiment.positions]
        where = {"vector": steered.name, "layer": layer, "share": share, "operator": "ablate"}
        yield from self._samples(prompt, arm, "", content, **where, **_NO_DOSE)

    def _expressed(self, prompt: PromptChoice, expression: Resolved) -> Iterator[Cell]:
        content = ["expression", expression.text, dict(expression.identities)]
        where = {"vector": expression.vector, "layer": expression.layer, "operator": expression.operator}
        yield from self._samples(prompt, EXPRESSION, "", content, steering=expression.text, **where, **_NO_DOSE)

    def _samples(
        self, prompt: PromptChoice, arm: str, pole: Pole = "", does: object = None, **where: Any
    ) -> Iterator[Cell]:
        """The cells of a condition. `does` names what is done; `where` are further coordinates."""
        where = {"vector": "", "layer": None, "dose": 0.0, "alpha": 0.0, **where}
        for sample in range(self.experiment.samples):
            content = self._content(prompt, pole, sample, does)
            yield Cell(
                key=sha256([content, self.info.engine, self.info.dtype, self.info.quantisation]),
                stream=sha256(content),
                model=self.info.model,
                engine=self.info.engine,
                label=self.choice.label,
                arm=arm,
                scenario=prompt.id,
                pressure=prompt.pressure,
                pole=pole,
                sample=sample,
                **where,
            )

    def _content(self, prompt: PromptChoice, pole: Pole, sample: int, steering: object) -> dict[str, Any]:
        experiment = self.experiment
        template = "" if prompt.raw else hashlib.sha256(template_key(self.info).encode()).hexdigest()
        return {
            "weights": self.info.weights,
            "template": template,
            "prompt": prompt.text,
            "raw": prompt.raw,
            "system": self.system(pole),
            "steering": steering,
            "sampler": asdict(experiment.sampler),
            "tokens": experiment.tokens,
            "sample": sample,
            "seed": experiment.seed,
        }

    def _both_units(self, steered: Steered, layer: int, value: float) -> tuple[float, float]:
        """(alpha, dose) of a strength."""
        direction, scale = steered.vector.directions[layer], float(self.scale[layer])
        if self.strengths.unit == "alpha":
            return value, direction.dose(value, scale)
        return direction.alpha(value, scale), value


def count(experiment: Experiment) -> list[int]:
    """Cells of each model, without loading it; if two choices mean the same layer, it is counted twice."""
    counts = []
    for choice in experiment.models:
        arms = experiment.arms
        doses = len((choice.strengths or experiment.strengths).values) - 1
        vectors = sum(vector.is_for(choice.name) for vector in experiment.vectors)
        added = doses * (("vector" in arms) + ("random" in arms) + 2 * ("both" in arms))
        ablated = len(experiment.shares) * sum(arm in arms for arm in ABLATING)
        plain = 1 + 2 * ("system" in arms or "both" in arms)
        layers = len(choice.layers or experiment.layers)
        conditions = plain + vectors * layers * (added + ablated) + len(experiment.steering)
        counts.append(len(experiment.prompts) * experiment.samples * conditions)
    return counts


def shard(cells: Sequence[Cell], part: tuple[int, int]) -> list[Cell]:
    """Part i of n, counted from 1. The hash of a cell's content decides its part."""
    i, n = part
    return [cell for cell in cells if int(cell.stream[:16], 16) % n == i - 1]


def _layer(choice: LayerChoice, vector: Vector, info: Info) -> int:
    if isinstance(choice, float):
        target = round(choice * (info.layers - 1))
        return min(vector.directions, key=lambda layer: (abs(layer - target), layer))  # some files leave layers out
    if choice != "best" and not -info.layers <= choice < info.layers:
        raise UsageError(f"layers: {choice} is out of range: {info.model} has layers 0 to {info.layers - 1}")
    return vector.layer(None if choice == "best" else choice % info.layers)
