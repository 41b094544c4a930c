"""An experiment: everything that a sweep does, as frozen values. `experiment_file` reads one from TOML.

A run's id depends on the content of the experiment and its files, not on their paths: two machines with the same
experiment give its run the same id, so a grid can be split over them and the parts merged.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from localprobe.contrast.scenarios import Scenario
from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.engine import Sampler
from localprobe.engines.spec import ModelSpec
from localprobe.errors import DataError, UsageError, VectorError
from localprobe.probing.config import ProbeConfig
from localprobe.store.json_values import to_json
from localprobe.text_metrics.word_lists import WordLists
from localprobe.vectors import files
from localprobe.vectors.calibrated_file import without
from localprobe.vectors.vector import Vector

Arm: TypeAlias = Literal["vector", "random", "system", "both", "ablate", "random-ablate"]
ARMS: tuple[Arm, ...] = ("vector", "random", "system", "both", "ablate", "random-ablate")
"""The vector; a random direction of the same dose; the two opposite system prompts and no vector; both together; the
vector's direction ablated at every layer of the model; a random direction ablated so."""
ADDING: tuple[Arm, ...] = ("vector", "random", "both")
"""Arms that add a vector, at a strength that has a sign."""
ABLATING: tuple[Arm, ...] = ("ablate", "random-ablate")
"""Arms that take away a share, from 0 to 1, of what lies along a direction."""
Pole: TypeAlias = Literal["", "positive", "negative"]
"""Which of the two system prompts is used, if any."""
Unit: TypeAlias = Literal["dose", "alpha"]
LayerChoice: TypeAlias = int | float | Literal["best"]
"""A layer; a depth between 0.0 (the first) and 1.0 (the last); or the one that the vector's file names as its best."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """The strengths of a sweep."""

    unit: Unit
    values: tuple[float, ...]
    """Ascending and distinct, including 0."""

    @classmethod
    def given(cls, doses: Iterable[float] | None, alphas: Iterable[float] | None) -> Strengths | None:
        """The doses or the alphas, whichever are given; None if neither. Raises UsageError if both are given, if a
        value is not finite, or if 0 is missing."""
        if doses is not None and alphas is not None:
            raise UsageError("give `doses` or `alphas`, not both")
        unit: Unit = "dose" if alphas is None else "alpha"
        values = doses if alphas is None else alphas
        if values is None:
            return None
        ordered = sorted({float(value) + 0.0 for value in values})  # -0.0 is 0.0
        if not all(map(math.isfinite, ordered)):
            raise UsageError(f"`{unit}s` are {ordered}: give finite numbers")
        if 0.0 not in ordered:
            raise UsageError(f"`{unit}s` have no 0: every effect is measured against unsteered answers; add 0")
        return cls(unit, tuple(ordered))


def shares(values: Iterable[float] | None, arms: Collection[str]) -> tuple[float, ...]:
    """The shares of the ablating arms, ascending and without 0, which is the unsteered answer; all of it (1.0) if not
    given. UsageError for a share outside [0, 1], or that no arm uses."""
    if not set(ABLATING) & set(arms):
        if values is not None:
            raise UsageError(f"`shares` are of the arms {' and '.join(ABLATING)}, and `arms` has neither")
        return ()
    listed = [1.0] if values is None else [float(value) for value in values]
    if wrong := [share for share in listed if not 0 <= share <= 1]:
        raise UsageError(f"`shares` holds {wrong[0]:g}: give shares from 0 to 1; 1 takes all of the direction away")
    if not (ordered := tuple(sorted(set(listed) - {0.0}))):
        raise UsageError("`shares` has no share above 0: give some, such as [0.5, 1.0]")
    return ordered


@dataclass(frozen=True, slots=True)
class ModelChoice(ModelSpec):
    """A model to steer."""

    label: str = ""
    """Its group in the report, such as `safety-trained`."""
    layers: tuple[LayerChoice, ...] = ()
    """Its own strengths; None for the experiment's."""
    strengths: Strengths | None = None
    weights: str = ""
    """Hash of its weights, for a model already in memory; empty for one loaded by name."""

    def content(self) -> dict[str, Any]:
        """As JSON values. What 0.1.0 did not know is left out where it is not used, so that run ids stay."""
        content: dict[str, Any] = to_json(self)
        if not self.weights:
            del content["weights"]
        if not self.options.template_args:
            del content["options"]["template_args"]
        return content


@dataclass(frozen=True, slots=True)
class VectorChoice:
    """A vector to steer with: from a file, to be fitted on each model, or in memory; exactly one of the three.

    UsageError if none or several are given, DataError if the file cannot be read.
    """

    name: str
    file: Path | None = None
    fit: Path | None = None
    """File of contrast pairs to fit one on."""
    vector: Vector | None = None
    probe: ProbeConfig = ProbeConfig()
    """How to fit it; ignored for a vector from a file or in memory."""
    models: tuple[str, ...] = ()
    """Names of the models that it is for; empty for all."""
    sha256: str = field(init=False)
    """Its identity in runs and cells: the hash of the file, without its calibrations, or of the layers and tensors of a
    vector in memory."""

    def __post_init__(self) -> None:
        if sum(source is not None for source in (self.file, self.fit, self.vector)) != 1:
            raise UsageError(f"vector {self.name}: give one of `file`, `fit` and `vector`")
        path = self.file or self.fit
        computed = self._file_hash(path) if path else vector_hash(self.vector) if self.vector else ""
        object.__setattr__(self, "sha256", computed)

    def _file_hash(self, path: Path) -> str:
        return file_hash(path, without) if self.file else file_hash(path)

    def is_for(self, model: str) -> bool:
        """Whether it is meant for the model of that name."""
        return not self.models or model in self.models

    def load(self) -> Vector:
        """The vector of a file or in memory. VectorError if the file cannot be read or has changed."""
        if self.vector is not None:
            return self.vector
        if self.file is None:
            raise UsageError(f"vector {self.name} is fitted on a model: it has no file")
        if self._file_hash(self.file) != self.sha256:
            raise VectorError(f"{self.file} has changed since the sweep began: start the sweep again")
        return files.load(self.file)

    def content(self) -> dict[str, Any]:
        """As JSON values, in the form of 0.1.0, on which run ids depend."""
        return {
            "name": self.name,
            "file": self.file.name if self.file else None,
            "fit": self.fit.name if self.fit else None,
            "method": self.probe.method,
            "pooling": self.probe.pooling,
            "test_fraction": self.probe.test_fraction,
            "seed": self.probe.seed,
            "models": list(self.models),
            "sha256": self.sha256,
            **({"special_tokens": True} if self.probe.special_tokens else {}),
        }


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """A prompt of a sweep."""

    id: str
    """A scenario's id, or the prompt's own."""
    title: str
    text: str
    pressure: bool = True
    """Whether a scenario keeps its empathy pressure; true for other prompts."""
    raw: bool = False
    """Continued as it is, without the chat template."""
    rubric: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario, *, pressure: bool = True) -> PromptChoice:
        """A scenario as a prompt, with its empathy pressure or without."""
        text = " ".join(scenario.prompt(empathy_pressure=pressure).split("  ")).strip()
        return cls(scenario.id, scenario.title or scenario.id, text, pressure, rubric=scenario.rubric)


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """A model behind an OpenAI-compatible endpoint that scores answers by the scenario's rubric."""

    generator: str
    """As in `localprobe data generate`: `ollama:qwen2.5:7b`, `my-model@http://127.0.0.1:8000/v1`, ..."""
    key_env: str = ""
    timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to generate and what to measure."""

    name: str
    concept: str
    models: tuple[ModelChoice, ...]
    vectors: tuple[VectorChoice, ...]
    prompts: tuple[PromptChoice, ...]
    strengths: Strengths
    layers: tuple[LayerChoice, ...]
    words: WordLists | None
    """Word lists of the two poles; None leaves out the measures that need them."""
    arms: tuple[Arm, ...] = ("vector",)
    system: SystemPrompts | None = None
    """System prompts of the arms `system` and `both`."""
    samples: int = 5
    tokens: int = 200
    sampler: Sampler = Sampler()
    positions: str = "all"
    seed: int = 0
    measures: bool = True
    """Whether to add the measures that need the model: probe score, perplexity, KL."""
    judge: JudgeChoice | None = None
    shares: tuple[float, ...] = ()
    """Shares of the ablating arms, ascending, without 0."""
    steering: tuple[str, ...] = ()
    """Steering expressions in their canonical form: each is a condition of its own."""
    others: tuple[VectorChoice, ...] = ()
    """Vectors that only the expressions name."""

    def content(self) -> dict[str, Any]:
        """As JSON values, with hashes in place of files: stored with a run, and the source of its id. What 0.1.0 did
        not know is left out where it is not used, so that run ids stay."""
        content: dict[str, Any] = to_json(replace(self, models=(), vectors=(), others=()))
        for name in ("models", "vectors", "others"):
            content[name] = [choice.content() for choice in getattr(self, name)]
        unused = [name for name in ("shares", "steering", "others") if not content[name]]
        return {name: value for name, value in content.items() if name not in unused}

    @property
    def run(self) -> str:
        """The run id, 8 hexadecimal digits. It ignores the judge and the measures, so they can be added later."""
        content = {name: value for name, value in self.content().items() if name not in ("judge", "measures", "words")}
        return sha256(content)[:8]


def sha256(content: object) -> str:
    """Hash of JSON values in one canonical form, 64 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path, identity: Callable[[bytes], bytes] = bytes) -> str:
    """SHA-256 of a file's bytes, or of what `identity` leaves of them, in hexadecimal. DataError if unreadable."""
    try:
        return hashlib.sha256(identity(path.read_bytes())).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def vector_hash(vector: Vector) -> str:
    """SHA-256 of a vector's layers, its best one and its tensors (float32), probes included, 64 hexadecimal digits."""
    hashed = hashlib.sha256(repr((vector.best, sorted(vector.directions))).encode())
    for layer in sorted(vector.directions):
        hashed.update(np.asarray(vector.directions[layer].vector, dtype="<f4").tobytes())
    for layer, direction in sorted(vector.directions.items()):
        if direction.probe is not None:
            hashed.update(f"probe {layer}".encode() + np.asarray(direction.probe, dtype="<f4").tobytes())
    return hashed.hexdigest()


def adapted(
    grid: Experiment,
    models: Sequence[ModelChoice],
    pairs: Path,
    probe: ProbeConfig,
    *,
    concept: str,
    system: SystemPrompts | None = None,
) -> Experiment:
    """An experiment's grid with other models, each steered by its own probe, fitted on the training part of `pairs`.

    A model that the grid already names keeps its layers and strengths. `system` replaces the grid's system prompts, if
    its arms use any. DataError if the pairs cannot be read.
    """
    own = {model.name: model for model in grid.models}
    return replace(
        grid,
        concept=concept,
        models=tuple(
            replace(model, layers=own[model.name].layers, strengths=own[model.name].strengths)
            if model.name in own
            else model
            for model in models
        ),
        vectors=(VectorChoice(concept, fit=pairs, probe=probe),),
        system=system if system and grid.system else grid.system,
        seed=probe.seed,
    )
