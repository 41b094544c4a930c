"""Cells and their names: what an answer depends on is in them, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from localprobe.engine import FloatArray, Sampler
from localprobe.errors import UsageError
from localprobe.experiments.experiment import Experiment, ModelChoice, Strengths
from localprobe.experiments.experiment_file import read_experiment
from localprobe.experiments.grid import Cell, Grid, Steered, count, shard
from localprobe.fake import FakeEngine
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.experiments.conftest import Write

SCALE = np.arange(1, 7, dtype=np.float32)


def vector(length: float = 2.0) -> Vector:
    random = np.random.default_rng(0)
    directions = {}
    for layer in range(6):
        drawn = random.standard_normal(32).astype(np.float32)
        directions[layer] = Direction(length * drawn / np.linalg.norm(drawn))
    return Vector("kindness", Origin("fake"), directions, 4)


def grid(experiment: Experiment, scale: FloatArray = SCALE, identity: str = "abc", **info: object) -> Grid:
    engine = FakeEngine()
    about = replace(engine.info, **info)  # type: ignore[arg-type]
    return Grid(experiment, experiment.models[0], about, scale, (Steered("kindness", identity, vector()),))


def keys(of: Grid) -> set[str]:
    return {cell.key for cell in of.cells()}


def test_unsteered_answers_are_cells_once_whatever_the_layers(experiment: Experiment) -> None:
    cells = grid(experiment).cells()
    baseline = [cell for cell in cells if cell.arm == "baseline"]
    assert len(baseline) == 2 * 2  # prompts, samples
    assert {(cell.layer, cell.vector, cell.alpha) for cell in baseline} == {(None, "", 0.0)}
    assert len(cells) == 4 + 2 * 2 * 2 * 2  # prompts, samples, layers, doses other than 0


def test_a_dose_comes_to_an_alpha_by_the_scale_and_the_length(experiment: Experiment) -> None:
    found = {(cell.layer, cell.dose): cell.alpha for cell in grid(experiment).cells() if cell.layer == 3}
    assert found[3, 0.5] == pytest.approx(0.5 * 4 / 2)
    raw = replace(experiment, strengths=Strengths("alpha", (0.0, 3.0)))
    (alpha,) = {(cell.alpha, cell.dose) for cell in grid(raw).cells() if cell.layer == 3}
    assert alpha == (3.0, pytest.approx(3 * 2 / 4))


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": Sampler(0.8)},
        {"tokens": 13},
        {"seed": 1},
        {"positions": "response"},
        {"strengths": Strengths("dose", (0.0, 0.25))},
        {"layers": (4,)},
    ],
)
def test_what_changes_an_answer_changes_its_name(experiment: Experiment, change: dict[str, object]) -> None:
    steered = {cell.key for cell in grid(experiment).cells() if cell.layer is not None}
    assert not steered & keys(grid(replace(experiment, **change)))  # type: ignore[arg-type]


def test_another_model_vector_or_prompt_is_another_cell(experiment: Experiment) -> None:
    own = keys(grid(experiment))
    assert not own & keys(grid(experiment, weights="others"))
    assert own & keys(grid(experiment, identity="another")) == {
        cell.key for cell in grid(experiment).cells() if cell.arm == "baseline"
    }
    prompts = tuple(replace(each, text=f"{each.text}!") for each in experiment.prompts)
    assert not own & keys(grid(replace(experiment, prompts=prompts)))


def test_a_template_matters_to_chats_and_not_to_raw_prompts(experiment: Experiment) -> None:
    own, other = grid(experiment), grid(experiment, chat_template="{{ messages[0]['content'] }}")
    shared = keys(own) & keys(other)
    assert shared == {cell.key for cell in own.cells() if cell.scenario == "raw"}


def test_names_hold_nothing_that_is_measured_or_only_for_people(experiment: Experiment) -> None:
    own = keys(grid(experiment))
    assert keys(grid(experiment, scale=SCALE * np.float32(1.0001))) == own
    relabelled = replace(experiment, name="x", models=(replace(experiment.models[0], label="uncensored"),))
    assert keys(grid(relabelled)) == own
    assert own < keys(grid(replace(experiment, samples=3)))


def test_engines_draw_the_same_random_numbers_under_names_of_their_own(experiment: Experiment) -> None:
    one, other = grid(experiment), grid(experiment, engine="torch")
    assert [cell.stream for cell in one.cells()] == [cell.stream for cell in other.cells()]
    assert not keys(one) & keys(other)
    assert len({cell.stream for cell in one.cells()}) == len(one.cells())


def test_random_directions_are_as_long_and_another_for_each_sample(experiment: Experiment) -> None:
    of = grid(replace(experiment, arms=("vector", "random")))
    cells = [cell for cell in of.cells() if cell.arm == "random" and cell.layer == 2]
    drawn = {cell.sample: of.knobs(cell)[0] for cell in cells}
    assert len(drawn) == 2
    assert all(knob.direction.length == pytest.approx(2.0, rel=1e-5) for knob in drawn.values())
    assert abs(np.dot(drawn[0].direction.vector, drawn[1].direction.vector)) < 3
    assert not np.allclose(drawn[0].direction.vector, drawn[1].direction.vector)
    again = grid(replace(experiment, arms=("random",)))
    assert np.array_equal(again.knobs(cells[0])[0].direction.vector, of.knobs(cells[0])[0].direction.vector)


def test_arms_bring_the_system_prompts_that_they_are_measured_against(write: Write) -> None:
    experiment = read_experiment(write('arms = ["both"]', 'system_prompts = "prompts.json"'))
    cells = grid(experiment).cells()
    assert {(cell.arm, cell.pole) for cell in cells} == {
        ("baseline", ""),
        ("system", "positive"),
        ("system", "negative"),
        ("both", "positive"),
        ("both", "negative"),
    }


def test_shards_share_out_all_cells_by_what_is_asked(experiment: Experiment) -> None:
    cells = grid(experiment).cells()
    parts = [shard(cells, (i, 3)) for i in (1, 2, 3)]
    assert sorted(cell.key for part in parts for cell in part) == sorted(cell.key for cell in cells)
    assert all(parts)
    other = shard(grid(experiment, engine="torch").cells(), (2, 3))
    assert [cell.stream for cell in other] == [cell.stream for cell in parts[1]]


def test_layers_by_number_depth_and_best(experiment: Experiment) -> None:
    def layers(*chosen: object) -> list[int]:
        of = grid(replace(experiment, layers=chosen))  # type: ignore[arg-type]
        return of.layers(of.vectors[0])

    assert layers(1, -1) == [1, 5]
    assert layers(0.0, 0.5, 1.0) == [0, 2, 5]
    assert layers("best", 4) == [4]
    with pytest.raises(UsageError, match="layers: 6 is out of range: fake has layers 0 to 5"):
        layers(6)


def test_a_model_may_have_its_own(experiment: Experiment) -> None:
    own = ModelChoice("fake", layers=(1,), strengths=Strengths("alpha", (0.0, 9.0)))
    cells = grid(replace(experiment, models=(own,))).cells()
    assert {(cell.layer, cell.alpha) for cell in cells} == {(None, 0.0), (1, 9.0)}


@pytest.mark.parametrize("arms", ['["vector"]', '["system"]', '["vector", "random", "both"]'])
def test_cells_are_counted_without_a_model(write: Write, arms: str) -> None:
    experiment = read_experiment(write(f"arms = {arms}", 'system_prompts = "prompts.json"'))
    assert count(experiment) == [len(grid(experiment).cells())]


def test_cells_that_share_a_prompt_and_a_steering_stand_together(experiment: Experiment) -> None:
    def condition(cell: Cell) -> tuple[object, ...]:
        return cell.scenario, cell.layer, cell.alpha

    order = [condition(cell) for cell in grid(experiment).cells()]
    assert len([a for a, b in pairwise(order) if a != b]) + 1 == len(set(order))


def test_a_fitted_vector_is_named_by_its_pairs(write: Write, tmp_path: Path) -> None:
    from localprobe.experiments.fitted import steered
    from localprobe.model import Model

    (choice,) = read_experiment(write()).vectors
    told: list[int] = []
    with Model(FakeEngine()) as model:
        first = steered(choice, model, lambda amount: told.append(amount.texts))
        assert told
        told.clear()
        again = steered(choice, model, lambda amount: told.append(amount.texts))
    assert not told  # it is kept
    assert first.identity == again.identity
    assert "auroc" in first.vector.directions[2].measures
    assert np.array_equal(first.vector.directions[2].vector, again.vector.directions[2].vector)


def test_a_vector_fitted_under_another_chat_template_is_fitted_again(write: Write) -> None:
    from localprobe.experiments.fitted import steered
    from localprobe.model import Model

    (choice,) = read_experiment(write()).vectors
    captured: list[str] = []
    for template in (FakeEngine().info.chat_template, "{{ messages[0].content }}!"):
        engine = FakeEngine()
        engine.info = replace(engine.info, chat_template=template)
        steered(choice, Model(engine), lambda amount, template=template: captured.append(template))
    assert len(set(captured)) == 2
