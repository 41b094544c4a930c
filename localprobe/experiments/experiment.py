"""An experiment: what a sweep is to do, as frozen values. `experiment_file` reads one from TOML.

What it means is in its content, not in where its files lie: two machines that hold the same experiment call its run by
the same name, so that a grid can be split over them and its parts joined.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.engine import Sampler
from localprobe.engines.spec import ModelSpec
from localprobe.text_metrics.word_lists import WordLists

Arm: TypeAlias = Literal["vector", "random", "system", "both"]
ARMS: tuple[Arm, ...] = ("vector", "random", "system", "both")
"""The vector; a random direction of the same dose; the two opposite system prompts and no vector; both together."""
Pole: TypeAlias = Literal["", "positive", "negative"]
"""Which of the two system prompts is given, if any."""
LayerChoice: TypeAlias = int | float | Literal["best"]
"""A layer; a depth between 0.0 (the first) and 1.0 (the last); or the one that the vector's file names as its best."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """How hard a direction is pushed."""

    unit: Literal["dose", "alpha"]
    values: tuple[float, ...]
    """Ascending, each once, 0 among them."""


@dataclass(frozen=True, slots=True)
class ModelChoice(ModelSpec):
    """A model to steer."""

    label: str = ""
    """What group it belongs to in the report, as `safety-trained`."""
    layers: tuple[LayerChoice, ...] = ()
    """Its own, if the experiment's do not suit it."""
    strengths: Strengths | None = None


@dataclass(frozen=True, slots=True)
class VectorChoice:
    """A vector to steer with: a file, or one to be fitted on each model."""

    name: str
    file: Path | None = None
    fit: Path | None = None
    """Contrast pairs to fit one on."""
    method: str = "mean-difference"
    pooling: str = "mean-without-first"
    test_fraction: float = 0.3
    """Share of each scenario's pairs kept out of the fit, to measure on."""
    seed: int = 0
    """Of that split, and of the choice of a layer."""
    models: tuple[str, ...] = ()
    """Names of the models that it is for; empty for all."""
    sha256: str = ""
    """Of the file's bytes."""


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """What is asked."""

    id: str
    """A scenario's id, or the prompt's own."""
    title: str
    text: str
    pressure: bool = True
    """Whether a scenario keeps its empathy pressure; true for other prompts."""
    raw: bool = False
    """Continued as it is, without the chat template."""
    rubric: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """A model behind an OpenAI-compatible endpoint that scores answers by the scenario's rubric."""

    generator: str
    """As in `localprobe data generate`: `ollama:qwen2.5:7b`, `my-model@http://127.0.0.1:8000/v1`, ..."""
    key_env: str = ""
    timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to generate, and what to measure of it."""

    name: str
    concept: str
    models: tuple[ModelChoice, ...]
    vectors: tuple[VectorChoice, ...]
    prompts: tuple[PromptChoice, ...]
    strengths: Strengths
    layers: tuple[LayerChoice, ...]
    words: WordLists
    arms: tuple[Arm, ...] = ("vector",)
    system: SystemPrompts | None = None
    """Of the arms `system` and `both`."""
    samples: int = 5
    tokens: int = 200
    sampler: Sampler = Sampler()
    positions: str = "all"
    seed: int = 0
    measures: bool = True
    """Whether to measure what needs the model: probe score, perplexity, KL."""
    judge: JudgeChoice | None = None

    def content(self) -> dict[str, Any]:
        """All of it as JSON values, files by their hashes: what a run keeps, and what names it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=lambda path: path.name))
        return found

    @property
    def run(self) -> str:
        """The id of this experiment's run, 8 hexadecimal digits. The judge and what is measured may be added later."""
        content = {name: value for name, value in self.content().items() if name not in ("judge", "measures", "words")}
        return sha256(content)[:8]


def sha256(content: object) -> str:
    """Hash of JSON values in one canonical form, 64 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
