"""How large an experiment is, and about how long it takes on this machine."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from localprobe.engine import Row
from localprobe.experiments.cells import Cells
from localprobe.experiments.experiment import Experiment, ModelChoice
from localprobe.experiments.grid import count
from localprobe.experiments.sweep import Load
from localprobe.generation import decode
from localprobe.generation.events import Token
from localprobe.model import Model
from localprobe.steering.positions import term
from localprobe.store.damaged import WRONG
from localprobe.store.runs import Runs
from localprobe.vectors.vector import Direction

_ROWS, _TOKENS, _READ = 16, 12, 2
_DOSE = 0.1


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """The work that is left for one model."""

    model: str
    cells: int
    done: int
    tokens: int
    """At most this many are left to generate."""
    measures: int
    """Cells left to measure."""
    rate: float
    """Tokens generated per second."""
    measuring: float
    """Cells measured per second."""
    source: str
    """Where the two rates come from."""

    @property
    def seconds(self) -> float:
        """Time to generate and measure, without fitting vectors."""
        return self.tokens / self.rate + self.measures / self.measuring


@dataclass(frozen=True, slots=True)
class SweepEstimate:
    """The work that is left."""

    models: tuple[ModelEstimate, ...]

    @property
    def cells(self) -> int:
        return sum(model.cells for model in self.models)

    @property
    def seconds(self) -> float:
        return sum(model.seconds for model in self.models)

    def as_json(self) -> dict[str, Any]:
        """`cells`, `seconds`, and `models` with the same for each model."""
        models = [{**asdict(model), "seconds": model.seconds} for model in self.models]
        return {"cells": self.cells, "seconds": self.seconds, "models": models}


def estimate(experiment: Experiment, runs: Runs, load: Load) -> SweepEstimate:
    """Count cells and estimate the time, by the rates of the last sweep with the same model, engine and device. If
    there is none, the model is loaded and its rates are measured for some seconds."""
    parts = []
    for choice, cells in zip(experiment.models, count(experiment), strict=True):
        done, measured = _done(experiment, runs, choice)
        rate, measuring, source = _last(runs, choice) or _measured(choice, experiment, load)
        tokens = max(0, cells - done) * experiment.tokens
        measures = max(0, cells - measured) if experiment.measures else 0
        parts.append(ModelEstimate(str(choice), cells, done, tokens, measures, rate, measuring, source))
    return SweepEstimate(tuple(parts))


def _done(experiment: Experiment, runs: Runs, choice: ModelChoice) -> tuple[int, int]:
    """How many cells are generated, and how many measured."""
    if runs.find(experiment.run) is None:
        return 0, 0
    own = [
        answer
        for answer in Cells(runs, experiment.run).read()
        if answer.cell.model == choice.name and choice.engine in (None, answer.cell.engine)
    ]
    return len(own), sum(answer.measures is not None for answer in own)


def _last(runs: Runs, choice: ModelChoice) -> tuple[float, float, str] | None:
    for run in runs.all("sweep"):
        with suppress(*WRONG):  # a damaged run has no rate
            for facts in run.about["models"]:
                same = facts["model"] == choice.name and choice.engine in (None, facts["engine"])
                same &= facts["device"] == (choice.options.device or facts["device"])
                if same and facts["rate"] and facts["measuring"]:
                    return float(facts["rate"]), float(facts["measuring"]), f"the rate of run {run.id}"
    return None


def _measured(choice: ModelChoice, experiment: Experiment, load: Load) -> tuple[float, float, str]:
    with load(choice) as model:
        return *rates(model, experiment), "measured just now"


def rates(model: Model, experiment: Experiment) -> tuple[float, float]:
    """Tokens generated per second in a batch of rows at different strengths, and answers measured per second."""
    middle = model.info.layers // 2
    direction = Direction(np.random.default_rng(0).standard_normal(model.info.width).astype(np.float32))
    alpha = direction.alpha(_DOSE, float(model.scale[middle]))
    prompt = experiment.prompts[0]
    ids = model.ids(prompt.text, raw=prompt.raw)
    steerings = [(term(middle, direction.vector, sign * alpha),) for sign in (-1, 1)]
    tokens = min(_TOKENS, experiment.tokens)
    requests = [
        decode.Request(ids, steerings[row % 2], experiment.sampler, f"rate {row}", tokens) for row in range(_ROWS)
    ]
    steps = decode.steps(model.engine, requests, width=_ROWS)
    next(steps)  # the prompt
    start = time.perf_counter()
    generated_tokens = sum(isinstance(event, Token) for events in steps for event in events)
    generated = time.perf_counter() - start
    long = np.resize(ids, min(len(ids) + experiment.tokens, model.info.context))
    targets = np.stack([np.arange(experiment.tokens), long[: experiment.tokens]], axis=1).astype(np.int32)
    start = time.perf_counter()
    model.engine.forward([Row(long, targets=targets)] * _READ)
    return max(generated_tokens, 1) / max(generated, 1e-6), _READ / max(time.perf_counter() - start, 1e-6)
