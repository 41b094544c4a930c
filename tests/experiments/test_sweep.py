"""Sweeps: the same texts whatever the order, batch, shard or interruption; never twice, never lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localprobe.engine import Prompt, Row, Stream
from localprobe.errors import LocalprobeError, OutOfMemory
from localprobe.experiments import sweep
from localprobe.experiments.cells import CellAnswer, Cells
from localprobe.experiments.experiment import Experiment, ModelChoice
from localprobe.experiments.experiment_file import read_experiment
from localprobe.experiments.fitted import steered
from localprobe.experiments.grid import Grid
from localprobe.experiments.merge import merge
from localprobe.experiments.sweep import SweepProgress
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.steering import knob
from localprobe.steering.positions import Place
from localprobe.store.runs import Runs
from tests.experiments.conftest import Write, loaded

pytestmark = pytest.mark.slow

ALL_ARMS = 'arms = ["vector", "random", "system", "both"]'


def rows(runs: Runs, run: str) -> list[tuple[object, ...]]:
    """Everything that the store holds of a run, in an order of its own."""
    with sqlite3.connect(runs.path) as database:
        return sorted(database.execute("SELECT * FROM cells WHERE run = ?", (run,)), key=str)


def texts(runs: Runs, run: str) -> dict[str, str]:
    return {answer.cell.key: answer.text for answer in Cells(runs, run).read()}


@pytest.fixture
def every_arm(write: Write) -> Experiment:
    return read_experiment(write(ALL_ARMS, 'system_prompts = "prompts.json"'))


@pytest.fixture
def whole(every_arm: Experiment, tmp_path: Path) -> Runs:
    """The store of a run of every arm, done in one go."""
    runs = Runs(tmp_path / "whole.sqlite")
    sweep.run(every_arm, runs, load=loaded)
    return runs


def test_a_run_holds_every_cell_measured(every_arm: Experiment, whole: Runs) -> None:
    run = whole.get("last")
    assert run.id == every_arm.run
    assert run.result["cells"] == {"expected": 76, "done": 76, "measured": 76, "judged": 0}
    assert len({answer.cell.key for answer in Cells(whole, run.id).read()}) == 76
    assert run.about["models"][0]["rate"] > 0


def test_an_answer_is_what_the_model_says_alone(every_arm: Experiment, whole: Runs) -> None:
    with Model(FakeEngine()) as model:
        grid = _grid(every_arm, model)
        for answer in Cells(whole, every_arm.run).read()[::7]:
            cell = answer.cell
            prompt = grid.prompt(cell)
            request = model.request(
                prompt.text,
                grid.knobs(cell),
                system=grid.system(cell.pole),
                raw=prompt.raw,
                key=cell.stream,
                tokens=12,
            )
            assert "".join(e.text for e in model.generate([request]) if not hasattr(e, "values")) == answer.text


def test_batched_shuffled_and_one_by_one_say_the_same(
    every_arm: Experiment, whole: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = Runs(tmp_path / "one.sqlite")
    sweep.run(every_arm, one_by_one, load=loaded, width=1)
    cells = Grid.cells

    def shuffled(self: Grid):  # type: ignore[no-untyped-def]
        found = cells(self)
        random.Random(3).shuffle(found)
        return found

    monkeypatch.setattr(Grid, "cells", shuffled)
    other = Runs(tmp_path / "other.sqlite")
    sweep.run(every_arm, other, load=loaded, width=7)
    assert texts(one_by_one, every_arm.run) == texts(other, every_arm.run) == texts(whole, every_arm.run)
    assert other.get("last").result["models"][0]["series"] == whole.get("last").result["models"][0]["series"]


def test_three_shards_joined_are_the_whole(every_arm: Experiment, whole: Runs, tmp_path: Path) -> None:
    parts = [Runs(tmp_path / f"{i}.sqlite") for i in (1, 2, 3)]
    for i, runs in enumerate(parts, 1):
        found = sweep.run(every_arm, runs, load=loaded, part=(i, 3))
        assert 0 < found.result["cells"]["done"] < found.result["cells"]["expected"] == 76
    joined = Runs(tmp_path / "joined.sqlite")
    lines = list(merge([runs.path for runs in parts], joined))
    assert lines[-1].endswith("76 of 76 cells")
    assert texts(joined, every_arm.run) == texts(whole, every_arm.run)
    assert joined.get("last").result["models"][0]["series"] == whole.get("last").result["models"][0]["series"]


def test_a_run_that_is_done_generates_nothing(
    every_arm: Experiment, whole: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(whole, every_arm.run)
    monkeypatch.setattr(FakeEngine, "open", None)
    monkeypatch.setattr(FakeEngine, "forward", None)
    sweep.run(every_arm, whole, load=loaded)
    assert rows(whole, every_arm.run) == before


def test_an_experiment_that_grows_takes_over_what_is_there(experiment: Experiment, runs: Runs) -> None:
    sweep.run(experiment, runs, load=loaded)
    generated = []

    def progress(now: SweepProgress) -> None:
        if now.stage == "generating":
            generated.append((now.done, now.total))

    larger = sweep.run(replace(experiment, samples=3), runs, load=loaded, progress=progress)
    assert generated[0] == (20, 30)
    assert larger.id != experiment.run
    assert texts(runs, experiment.run).items() <= texts(runs, larger.id).items()


def test_stopping_keeps_what_is_done_and_going_on_ends_the_same(every_arm: Experiment, whole: Runs, runs: Runs) -> None:
    stages: list[str] = []

    def progress(now: SweepProgress) -> None:
        stages.append(now.stage)

    for least in (1, 40, 76):

        def enough(least: int = least) -> bool:
            return len(texts(runs, every_arm.run)) >= least

        half = sweep.run(every_arm, runs, load=loaded, progress=progress, stop=enough, width=8)
        assert least <= half.result["cells"]["done"]
    assert half.result["cells"]["measured"] < 76
    sweep.run(every_arm, runs, load=loaded, progress=progress)
    assert rows(runs, every_arm.run) == rows(whole, every_arm.run)
    assert list(dict.fromkeys(stages)) == ["generating", "measuring"]  # the vector was fitted and kept before


def _slow(path: Path, experiment: Path) -> None:
    """A sweep that takes a second or two, in a process of its own."""

    @contextmanager
    def slow(choice: ModelChoice) -> Iterator[Model]:
        with Model(FakeEngine(delay=0.008)) as model:
            yield model

    sweep.run(read_experiment(experiment), Runs(path), load=slow, width=5)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_killed_at_twenty_moments_and_resumed_the_store_is_that_of_an_uninterrupted_run(
    write: Write, every_arm: Experiment, whole: Runs, runs: Runs
) -> None:
    fast = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    moments = random.Random(0)
    kills = 0
    held = 0
    path = write(ALL_ARMS, 'system_prompts = "prompts.json"')
    while kills < 20:
        process = fast.Process(target=_slow, args=(runs.path, path))
        process.start()
        process.join(moments.uniform(0.01, 0.25))
        if process.exitcode is None:
            os.kill(process.pid or 0, signal.SIGKILL)
            kills += 1
        process.join()
        if process.exitcode == 0:  # a fast machine: begin again, so that twenty kills hit something
            runs.delete(every_arm.run)
            held = 0
        elif runs.path.exists() and runs.all():
            now = len(texts(runs, every_arm.run))
            assert now >= held  # nothing is ever lost
            held = now
    _slow(runs.path, path)
    assert rows(runs, every_arm.run) == rows(whole, every_arm.run)


def test_two_processes_on_one_store_end_with_one_whole_run(
    write: Write, every_arm: Experiment, whole: Runs, runs: Runs
) -> None:
    path = write(ALL_ARMS, 'system_prompts = "prompts.json"')
    fast = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    both = [fast.Process(target=_slow, args=(runs.path, path)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert rows(runs, every_arm.run) == rows(whole, every_arm.run)
    assert runs.get("last").result["cells"]["measured"] == 76


class SmallMemory(FakeEngine):
    """Holds three rows, and loses a batch of more than two half way."""

    def open(self, prompts: Sequence[Prompt], **how) -> Stream:  # type: ignore[no-untyped-def,override]
        count = sum(p.copies for p in prompts)
        if count > 3:
            raise OutOfMemory("no room")
        stream = super().open(prompts, **how)
        if count > 2:
            steps = stream.step

            def step(uniforms):  # type: ignore[no-untyped-def]
                if len(stream._rows[0].cache.keys[0]) and stream._rows[0].cache.length > 40:
                    raise OutOfMemory("no room any more")
                return steps(uniforms)

            stream.step = step  # type: ignore[method-assign]
        return stream


def test_short_memory_makes_batches_smaller_and_changes_nothing(every_arm: Experiment, whole: Runs, runs: Runs) -> None:
    @contextmanager
    def small(choice: ModelChoice) -> Iterator[Model]:
        with Model(SmallMemory()) as model:
            yield model

    sweep.run(every_arm, runs, load=small)
    assert texts(runs, every_arm.run) == texts(whole, every_arm.run)


def test_one_row_that_does_not_fit_is_one_line_and_what_was_done_stays(experiment: Experiment, runs: Runs) -> None:
    class None_(FakeEngine):
        def open(self, prompts: Sequence[Prompt], **how) -> Stream:  # type: ignore[no-untyped-def,override]
            raise OutOfMemory("no room at all")

    @contextmanager
    def none(choice: ModelChoice) -> Iterator[Model]:
        with Model(None_()) as model:
            yield model

    with pytest.raises(OutOfMemory, match="no room at all"):
        sweep.run(experiment, runs, load=none)
    assert runs.get(experiment.run).result["cells"]["done"] == 0


def test_a_full_disk_ends_the_run_and_what_was_done_stays(
    experiment: Experiment, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Cells.write
    calls = []

    def full(self: Cells, answers: Sequence[CellAnswer]) -> int:
        calls.append(len(answers))
        if len(calls) > 2:
            raise LocalprobeError("the store failed: database or disk is full; what it held before stays")
        return write(self, answers)

    monkeypatch.setattr(Cells, "write", full)
    with pytest.raises(LocalprobeError, match="disk is full"):
        sweep.run(experiment, runs, load=loaded, width=4)
    found = runs.get(experiment.run)
    assert found.result["cells"]["done"] == sum(calls[:2]) == len(texts(runs, experiment.run))


def test_scores_while_steered_and_readings_of_the_bare_text(every_arm: Experiment, whole: Runs) -> None:
    with Model(FakeEngine()) as model:
        grid = _grid(every_arm, model)
        (vector,) = (each.vector for each in grid.vectors)
        answers = [answer for answer in Cells(whole, every_arm.run).read() if len(answer.ids)]
        baseline = next(answer for answer in answers if answer.cell.arm == "baseline")
        assert baseline.measures is not None
        assert set(baseline.scores) == {"kindness:2", "kindness:3", "kindness:5"}  # at every layer that is steered
        assert baseline.measures.readings == pytest.approx(baseline.scores, abs=1e-4)
        assert baseline.measures.kl == 0
        both = next(answer for answer in answers if answer.cell.arm == "both")
        assert both.measures is not None
        assert set(both.scores) == {f"kindness:{both.cell.layer}", "kindness:5"}
        for answer in (baseline, both):
            _check_measures(model, grid, answer, knob.watch(vector, 5).vector)


def _check_measures(model: Model, grid: Grid, answer: CellAnswer, direction: np.ndarray) -> None:
    """One answer's measures by single passes."""
    cell, prompt = answer.cell, grid.prompt(answer.cell)
    asked = model.ids(prompt.text, system=grid.system(cell.pole), raw=prompt.raw)
    plain = model.ids(prompt.text, raw=prompt.raw)
    terms = knob.steering(grid.knobs(cell), Place(len(asked)))
    full = np.concatenate([asked, answer.ids])
    residuals = model.engine.forward([Row(full, terms)], [5])[0].residuals[0]
    assert answer.scores["kindness:5"] == pytest.approx(float((residuals[len(asked) :] @ direction).mean()), abs=1e-4)
    bare = np.concatenate([plain, answer.ids])
    output = model.engine.forward([Row(bare, full=tuple(range(len(plain) - 1, len(bare) - 1)))], [5])[0]
    assert answer.measures is not None
    loss = -np.mean(output.full[np.arange(len(answer.ids)), answer.ids])
    assert answer.measures.nll == pytest.approx(float(loss), abs=1e-4)
    reading = float((output.residuals[0][len(plain) :] @ direction).mean())
    assert answer.measures.readings["kindness:5"] == pytest.approx(reading, abs=1e-4)
    last = model.engine.forward([Row(asked, terms, full=(len(asked) - 1,))])[0].full[0].astype(float)
    kl = float((np.exp(last) * (last - output.full[0])).sum())
    assert answer.measures.kl == pytest.approx(kl, abs=1e-4)


def _grid(experiment: Experiment, model: Model) -> Grid:
    vectors = tuple(steered(each, model, lambda amount: None) for each in experiment.vectors)
    return Grid(experiment, experiment.models[0], model.info, model.scale, vectors)


def test_progress_tells_cells_and_tokens(experiment: Experiment, runs: Runs) -> None:
    told: list[SweepProgress] = []
    sweep.run(experiment, runs, load=loaded, progress=told.append)
    generating = [now for now in told if now.stage == "generating"]
    assert (generating[0].done, generating[-1].done, generating[-1].total) == (0, 20, 20)
    tokens = sum(len(answer.ids) for answer in Cells(runs, experiment.run).read())
    assert max(now.tokens for now in generating) == tokens
    assert any(now.last is not None for now in generating)
    measuring = [now.done for now in told if now.stage == "measuring"]
    assert (measuring[0], measuring[-1], told[-1].done, told[-1].total) == (0, 20, 20, 20)


def test_stopping_is_heard_before_the_first_answers_are_measured(experiment: Experiment, runs: Runs) -> None:
    stages: list[str] = []
    half = sweep.run(
        experiment, runs, load=loaded, progress=lambda now: stages.append(now.stage), stop=lambda: "measuring" in stages
    )
    assert (half.result["cells"]["done"], half.result["cells"]["measured"]) == (20, 0)
