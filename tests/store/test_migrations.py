"""A store that localprobe 0.1.0 wrote (`tests/store/data`): every run and chat in it opens, with the figures it had.

A new step of `localprobe.store.migrations` needs no new file: its functions run on these runs too.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localprobe import report
from localprobe.chats.store import Chats
from localprobe.experiments.cells import Cells
from localprobe.experiments.export import lines
from localprobe.experiments.merge import current_result, merge
from localprobe.experiments.result import SweepResult
from localprobe.probing.detection import Comparison, Ratings
from localprobe.probing.result import ProbeResult
from localprobe.store.changes import StoredRun, rewrite_runs
from localprobe.store.json_values import from_json, to_json
from localprobe.store.migrations import MIGRATIONS
from localprobe.store.runs import SCHEMA, Runs
from localprobe.store.sqlite import Schema, SqliteFile

pytestmark = pytest.mark.slow  # each run of an old store has its page made

DATA = Path(__file__).parent / "data"
KINDS = {
    "344dedae": "fit",
    "d4af3cd3": "validate",
    "8595bcd7": "compare",
    "4d8cc5c0": "correlate",
    "abbc9cc2": "sweep",  # whole
    "ba449ccb": "reproduce",  # detection alone
    "345ddba6": "sweep",  # half done, judged, with every arm
    "ed54601a": "reproduce",  # with steering
    "6a73e993": "sweep",
}
"""Ids and kinds in the order in which the runs were made."""


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(Path(shutil.copy(DATA / "runs-0.1.0.sqlite", tmp_path / "runs.sqlite")))


def old_result(reference: str) -> Any:
    """The result as 0.1.0 kept it."""
    database = sqlite3.connect(f"file:{DATA / 'runs-0.1.0.sqlite'}?mode=ro", uri=True)
    (result,) = database.execute("SELECT result FROM runs WHERE id = ?", (reference,)).fetchone()
    database.close()
    return json.loads(result)


def test_the_list_shows_every_run_with_what_it_gave(runs: Runs) -> None:
    assert [(run.id, run.kind) for run in runs.summaries()] == [*reversed(KINDS.items())]
    headlines = {run.id: run.headline for run in runs.summaries()}
    assert headlines["d4af3cd3"] == {"layer": 14, "auroc": 0.88}
    assert headlines["345ddba6"] == {"done": 25, "expected": 44, "measured": 25, "judged": 25}


def test_the_file_is_of_the_present_format_once_it_was_opened(runs: Runs) -> None:
    runs.summaries()
    database = sqlite3.connect(runs.path)
    assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA.format,)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_fit_keeps_what_was_fitted(runs: Runs) -> None:
    result = from_json(ProbeResult, runs.get("344dedae").result)
    assert (result.name, result.layer, result.layers) == ("empathy on smollm2-135m (llama)", 14, ())
    assert (result.train_pairs, result.test_pairs) == (13, 5)
    assert (result.config.method, result.config.pooling) == ("mean-difference", "mean-without-first")
    assert (result.origin.width, result.origin.version) == (576, "0.1.0")


def test_a_validation_keeps_every_figure(runs: Runs) -> None:
    old, new = old_result("d4af3cd3"), from_json(ProbeResult, runs.get("d4af3cd3").result)
    assert new.validation is not None
    assert new.scores is not None
    assert new.measured_on is not None
    assert (new.layer, new.chosen.auroc) == (old["nested"]["layer"], old["nested"]["auroc"])
    assert (new.best.layer, new.best.auroc) == (old["best"]["layer"], old["best"]["auroc"])
    assert to_json(new.layers) == old["layers"]
    assert to_json(new.scores) == old["scores"]
    assert to_json(new.measured_on) == old["measured_on"] | {"template_args": []}
    assert to_json(new.origin) == old["origin"] | {"special_tokens": False}
    for part in ("permutation", "baselines", "leave_one_out", "lexical", "neutral", "verdict"):
        assert to_json(getattr(new.validation, part)) == old[part]
    assert (new.pairs, list(new.scale)) == (old["pairs"], old["scale"])
    assert (new.config.permutations, new.config.resamples, new.config.seed) == (200, 200, 0)  # those of the command


def test_a_comparison_keeps_models_and_agreement(runs: Runs) -> None:
    old, new = old_result("8595bcd7"), from_json(Comparison, runs.get("8595bcd7").result)
    assert (new.concept, new.config.pooling, new.config.permutations) == ("empathy", "mean", 100)
    assert [(model.name, model.label) for model in new.models] == [
        ("smollm2-135m (llama, Q4_1)", ""),
        ("smollm2-135m (torch)", "dequantised"),
    ]
    for model, before in zip(new.models, old["models"], strict=True):
        assert to_json(model.probe.layers) == before["layers"]
        assert model.behaviour is None
    (agreement,), (before,) = new.agreement, old["agreement"]
    assert to_json(agreement.scores.within_poles) == before["within_poles"]
    assert to_json(agreement.directions) == before["directions"]


def test_a_correlation_is_as_it_was(runs: Runs) -> None:
    old, new = old_result("4d8cc5c0"), from_json(Ratings, runs.get("4d8cc5c0").result)
    for model in old["models"]:
        model["measured_on"]["template_args"] = []
    assert to_json(new) == old


@pytest.mark.parametrize("reference", ["ba449ccb", "ed54601a"])
def test_a_reproduction_keeps_detection_and_steering(runs: Runs, reference: str) -> None:
    old, new = old_result(reference), runs.get(reference).result
    (model,) = from_json(Comparison, new["detection"]).models
    assert to_json(model.behaviour) == old["models"][0]["behaviour"]
    assert new["ratings"] == "rated.jsonl"
    assert new.get("steering", {}).get("run") == ("6a73e993" if "steering" in old else None)


@pytest.mark.parametrize("reference", [reference for reference, kind in KINDS.items() if kind != "fit"])
def test_every_run_has_its_page(runs: Runs, reference: str) -> None:
    run = runs.get(reference)
    assert f"<title>{run.name} · localprobe</title>" in report.page([run])


@pytest.mark.parametrize(("reference", "cells", "steered"), [("abbc9cc2", 12, 12), ("345ddba6", 25, 6)])
def test_a_sweep_keeps_its_answers_and_exports_them(runs: Runs, reference: str, cells: int, steered: int) -> None:
    run = runs.get(reference)
    assert len(Cells(runs, reference).read()) == cells
    assert len(lines(runs, run, "all")) == cells
    assert len(lines(runs, run)) == steered
    kept, counted = from_json(SweepResult, run.result), current_result(runs, run)
    assert kept.cells == counted.cells
    assert [model.series for model in kept.models] == [model.series for model in counted.models]


def test_a_sweep_that_was_killed_in_its_first_model_has_a_result_and_its_answers(runs: Runs) -> None:
    with sqlite3.connect(runs.path) as database:
        database.execute("UPDATE runs SET result = '{}' WHERE id = '345ddba6'")  # as 0.1.0 kept it until then
    database.close()
    run = runs.get("345ddba6")
    cells = from_json(SweepResult, run.result).cells
    assert (cells.expected, cells.done) == (44, 0)
    assert current_result(runs, run).cells.done == 25


def test_an_old_store_is_joined_with_a_new_one(runs: Runs, tmp_path: Path) -> None:
    target = Runs(tmp_path / "whole.sqlite")
    list(merge([runs.path], target))
    assert {run.id for run in target.summaries()} == set(KINDS)
    assert len(Cells(target, "345ddba6").read()) == 25


def test_a_run_that_a_step_cannot_read_is_left_as_it_is(runs: Runs) -> None:
    def shout(run: StoredRun) -> StoredRun:
        return run._replace(result={"name": run.result["name"].upper()})

    runs.add("fit", "of another tool", {"odd": True}, id="odd")
    runs.add("fit", "plain", {"name": "a"}, id="even")
    with runs.file.writing() as database:
        rewrite_runs(database, {"fit": shout})
    assert (runs.get("odd").result, runs.get("even").result) == ({"odd": True}, {"name": "A"})


def test_old_cells_say_what_was_done_and_keep_their_strengths(runs: Runs) -> None:
    found = {(answer.cell.arm, answer.cell.operator) for answer in Cells(runs, "345ddba6").read()}
    assert found == {("baseline", ""), ("system", ""), ("vector", "add"), ("random", "add"), ("both", "add")}
    cells = [answer.cell for answer in Cells(runs, "345ddba6").read()]
    assert all(cell.share is None and not cell.steering and cell.dose is not None for cell in cells)


def test_a_store_of_format_2_keeps_every_cell_and_takes_ablations(tmp_path: Path) -> None:
    """Format 2 was never released with a file of its own: a store is made by its steps."""
    path = tmp_path / "runs.sqlite"
    old = SqliteFile(path, Schema("runs", MIGRATIONS[:2]))
    common = ("r1", "s", "fake", "fake", "", "vector", "hello", 1, "", "kind", 3, 0.3, 3.0, 0, "Hi.", "end", b"", "{}")
    with old.writing() as database:
        database.execute("INSERT INTO runs VALUES ('r1', 'sweep', 'x', '2026', '{}', '{}')")
        for key in ("a", "b"):
            row = (common[0], key, *common[1:], None, None)
            database.execute(f"INSERT INTO cells VALUES ({', '.join('?' * len(row))})", row)
    runs = Runs(path)
    before = Cells(runs, "r1").read()
    assert [(answer.cell.key, answer.cell.dose, answer.cell.alpha, answer.text) for answer in before] == [
        ("a", 0.3, 3.0, "Hi."),
        ("b", 0.3, 3.0, "Hi."),
    ]
    cell = replace(before[0].cell, key="c", arm="ablate", dose=None, alpha=None, operator="ablate", share=0.5)
    assert Cells(runs, "r1").write([replace(before[0], cell=cell)]) == 1
    assert {answer.cell.key: answer.cell for answer in Cells(runs, "r1").read()}["c"] == cell
    runs.delete("r1")  # cells go with their run, as before
    with runs.file.reading() as database:
        assert database.execute("SELECT count(*) FROM cells").fetchone() == (0,)


def test_chats_open_with_their_turns_scores_and_knobs(tmp_path: Path) -> None:
    chats = Chats(Path(shutil.copy(DATA / "chats-0.1.0.sqlite", tmp_path / "chats.sqlite")))
    assert [(chat.title, chat.turns) for chat in chats.find()] == [("Say hello.", 2), ("hi", 4)]
    chat = chats.read(chats.find("refuge")[0].id)
    *_, asked, answer = chat.path()
    assert asked.content == "My friend has gone quiet."
    assert (len(answer.pieces), len(answer.scores), answer.reason) == (24, 24, "length")
    (part,) = answer.parts
    assert (part.knobs[0].concept, part.knobs[0].layer, part.knobs[0].dose) == ("empathy", 14, 0.2)
    assert answer.reading is not None
    assert answer.reading.threshold == pytest.approx(25.48144)
