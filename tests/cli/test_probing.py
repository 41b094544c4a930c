"""`localprobe fit` and `localprobe validate`, on the fake engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.store.runs import Runs
from localprobe.vectors import files as vector_files
from tests.cli.conftest import Run

FAKE = ("--model", "fake", "--engine", "fake")
QUICK = ("--permutations", 20, "--resamples", 100)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Somebody's pairs in the paper's field names, told apart by how they are written."""
    path = tmp_path / "theirs.jsonl"
    lines = []
    for i, pair in enumerate(read_pairs(PAIR_SETS.path("empathy"))[::3]):
        texts = {"empathic_text": pair.positive[:60].upper(), "non_empathic_text": pair.negative[:60].lower()}
        lines.append(json.dumps({**texts, "scenario_id": pair.scenario, "generator": ["a", "b"][i % 2]}))
    path.write_text("\n".join(lines))
    return path


PAPER = (
    "--positive-field",
    "empathic_text",
    "--negative-field",
    "non_empathic_text",
    "--scenario-field",
    "scenario_id",
)


def test_somebody_elses_pairs_work_end_to_end(run: Run, theirs: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.safetensors"
    fitted = run("fit", theirs, "-o", probe, *PAPER, *FAKE, "--json", "--concept", "shouting")
    assert fitted.status == 0, fitted.err
    done = json.loads(fitted.out)
    assert (done["train_pairs"], done["test_pairs"], done["concept"]) == (14, 6, "shouting")
    assert [row["layer"] for row in done["layers"]] == [0, 1, 2, 3, 4, 5]
    assert done["validation"] is None
    assert Runs().get(done["run"]).result == {name: done[name] for name in done if name not in ("run", "output")}
    ran = run("validate", probe, theirs, *PAPER, *FAKE, *QUICK, "--json")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert (found["train_pairs"], found["test_pairs"]) == (14, 6)
    assert found["layer"] == done["layer"]
    row = found["layers"][done["layer"]]
    assert row["auroc"] == done["layers"][done["layer"]]["auroc"]
    for name in ("auroc", "accuracy", "separation", "std_positive", "std_negative"):
        low, high = row[f"{name}_interval"]
        assert low <= row[name] <= high
    assert row["auroc"] > 0.9
    assert set(found["validation"]["leave_one_out"]) == {"scenario", "generator"}
    assert found["validation"]["verdict"]["headline"]


def test_a_probe_of_each_method(run: Run, theirs: Path, tmp_path: Path) -> None:
    for method in ("mean-difference", "logistic", "pca", "lda"):
        ran = run("fit", theirs, "-o", tmp_path / method, *PAPER, *FAKE, "--method", method, "--layers", "1,3")
        assert ran.status == 0, ran.err
        vector = vector_files.load(tmp_path / method)
        assert (vector.origin.method, sorted(vector.directions)) == (method, [1, 3])


def test_what_was_measured_is_said_and_without_pairs_held_out_nothing_is(
    run: Run, theirs: Path, tmp_path: Path
) -> None:
    told = " ".join(run("fit", theirs, "-o", tmp_path / "p", *PAPER, *FAKE).out.split())
    assert "theirs: mean-difference at 6 layers of fake, fitted on 14 pairs; layer " in told
    assert re.search(r"cross-validated inside the training pairs, AUROC \d\.\d\d \[.*\] on the 6 held out -> ", told)
    whole = " ".join(run("fit", theirs, "-o", tmp_path / "p", *PAPER, *FAKE, "--test-fraction", 0).out.split())
    assert "fitted on 20 pairs" in whole
    assert "AUROC" not in whole


def test_the_verdict_comes_first(run: Run, theirs: Path, tmp_path: Path) -> None:
    run("fit", theirs, "-o", tmp_path / "p", *PAPER, *FAKE)
    ran = run("validate", tmp_path / "p", theirs, *PAPER, *FAKE, *QUICK)
    assert ran.status == 0, ran.err
    assert ran.out.index("It does not show") < ran.out.index("6 test pairs")


def test_a_library_that_cannot_be_written_does_not_lose_the_file_that_was_asked_for(
    run: Run, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "full"))
    ran = run("fit", theirs, "-o", tmp_path / "probe.safetensors", *PAPER, *FAKE)
    assert (ran.status, ran.err.count("cannot write")) == (2, 1)
    assert vector_files.load(tmp_path / "probe.safetensors").concept == "theirs"


def test_pairs_that_were_all_fitted_are_no_test(run: Run, theirs: Path, tmp_path: Path) -> None:
    run("fit", theirs, "-o", tmp_path / "p", *PAPER, *FAKE, "--test-fraction", 0)
    ran = run("validate", tmp_path / "p", theirs, *PAPER, *FAKE, *QUICK)
    assert ran.status == 2
    assert f"every pair of {theirs} was used to fit this probe" in ran.err


@pytest.mark.parametrize(
    ("line", "complaint"),
    [('{"positive": "a", "negative": "b"}', "1 pair"), ("{", "line 1: not JSON"), ('{"positive": "a"}', "'negative'")],
)
def test_bad_pairs_are_one_line_and_nothing_is_written(run: Run, tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "bad.jsonl").write_text(line)
    ran = run("fit", tmp_path / "bad.jsonl", "-o", tmp_path / "p", *FAKE)
    assert ran.status == 2
    assert complaint in ran.err
    assert not (tmp_path / "p").exists()


def test_a_probe_of_another_model_is_refused(run: Run, vector_file: Path, tmp_path: Path) -> None:
    ran = run("validate", tmp_path / "none", "empathy", *FAKE)
    assert ran.status == 2
    assert "no vector file" in ran.err
