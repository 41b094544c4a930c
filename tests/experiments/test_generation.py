"""What a sweep asks of a model, and the answers that come of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import Row
from localprobe.errors import UsageError
from localprobe.experiments import generation, sweep
from localprobe.experiments.experiment import Experiment, ModelChoice
from localprobe.experiments.experiment_file import read_experiment
from localprobe.experiments.grid import Grid, Steered
from localprobe.experiments.model_measures import watches
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.store.runs import Runs
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.experiments.conftest import Write


def test_a_score_is_the_mean_over_the_tokens_of_the_answer(experiment: Experiment) -> None:
    model = Model(FakeEngine())
    v = np.random.default_rng(2).standard_normal(model.info.width).astype(np.float32)
    vector = Vector("kindness", Origin("fake"), {b: Direction(v) for b in range(model.info.layers)}, 2)
    experiment = replace(experiment, tokens=200)  # so that some answers end by themselves
    grid = Grid(experiment, experiment.models[0], model.info, model.scale, (Steered("kindness", "id", vector),))
    cells = grid.cells()
    asked = generation.requests(model, grid, cells)
    answers = [a for step in generation.generate(model, grid, cells, watches(grid), 4) for a in step]
    assert len(answers) == len(cells)
    assert "end" in {answer.reason for answer in answers}
    for answer in answers:
        request = asked[cells.index(answer.cell)]
        ids = np.array([*request.ids, *answer.ids], dtype=np.int32)
        residuals = model.engine.forward([Row(ids, request.steering)], [2])[0].residuals[0, len(request.ids) :]
        if "kindness:2" in answer.scores:
            expected = float((residuals @ v).mean() / np.linalg.norm(v))
            assert answer.scores["kindness:2"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        assert model.engine.decode(answer.ids) == answer.text


def test_a_prompt_that_is_too_long_is_said_before_a_vector_is_fitted(
    experiment: Experiment, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def short(choice: ModelChoice) -> Iterator[Model]:
        with Model(FakeEngine(context=24)) as model:
            yield model

    monkeypatch.setattr(sweep, "steered", lambda *_: pytest.fail("a vector was fitted"))
    with pytest.raises(UsageError, match="prompt hello: the prompt has 36 tokens, and fake holds 24: shorten it"):
        sweep.run(experiment, runs, load=short)


def test_a_system_prompt_counts(write: Write) -> None:
    experiment = read_experiment(write('arms = ["system"]', 'system_prompts = "prompts.json"'))
    model = Model(FakeEngine(context=40))
    generation.check_prompts(model, replace(experiment, arms=("vector",)))
    with pytest.raises(UsageError, match="prompt hello: the prompt has 54 tokens"):
        generation.check_prompts(model, experiment)


def test_a_vector_that_hardly_suits_the_model_is_told_of(
    experiment: Experiment, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = Vector("x", Origin("qwen"), {b: Direction(np.ones(32, np.float32), scale=1e6) for b in range(6)}, 2)
    monkeypatch.setattr(sweep, "steered", lambda *_: Steered("kindness", "id", foreign))
    lines: list[str] = []
    with Model(FakeEngine()) as model:
        sweep.run(experiment, runs, load=lambda choice: _given(model), notify=lines.append)
    assert lines[0] == "warning: vector 'x' was made for qwen, not for fake: expect little of it"
    assert lines[1].startswith("warning: at layer ")
    assert len(lines) == 2


@contextmanager
def _given(model: Model) -> Iterator[Model]:
    yield model
