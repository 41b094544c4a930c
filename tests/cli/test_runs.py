"""`localprobe runs`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from localprobe.experiments.audit import audit
from localprobe.experiments.cells import Cells
from localprobe.experiments.outcomes import outcomes
from localprobe.experiments.samples import read_samples
from localprobe.store.runs import Runs
from localprobe.text_metrics.word_lists import WORD_LISTS, read_word_lists
from tests.cli.conftest import Run
from tests.cli.test_sweep import own_data, toml

__all__ = ["own_data", "toml"]


@pytest.fixture
def swept(run: Run, toml: Path) -> str:
    """The id of a sweep that is done."""
    return str(json.loads(run("sweep", toml, "--json").out)["run"])


def test_runs_are_listed(run: Run, swept: str) -> None:
    ran = run("runs")
    assert swept in ran.out
    assert "10/10" in ran.out
    (listed,) = json.loads(run("runs", "--json").out)
    assert (listed["id"], listed["kind"], listed["cells"]["done"]) == (swept, "sweep", 10)


def test_an_empty_store_says_so(run: Run) -> None:
    ran = run("runs")
    assert ran.status == 0
    assert "no runs in" in ran.out


def test_show_prints_tables_and_json(run: Run, swept: str) -> None:
    ran = run("runs", "show", swept[:5])
    assert "kindness at layer 2" in ran.out
    assert "command: localprobe sweep" in ran.out
    told = json.loads(run("runs", "show", "last", "--json").out)
    assert told["id"] == swept
    assert told["about"]["experiment"]["tokens"] == 8


def test_show_prints_other_runs_as_they_are(run: Run) -> None:
    Runs().add("fit", "kindness on fake", {"auroc": 0.5})
    assert '"auroc": 0.5' in run("runs", "show", "last").out


def test_a_sweep_that_was_cut_off_is_shown_as_far_as_it_is(run: Run, swept: str, tmp_path: Path) -> None:
    with Runs().file.writing() as database:
        database.execute("DELETE FROM cells WHERE rowid % 2")
    assert "5 of 10 cells; 5 are not yet generated" in run("runs", "show", "last").out
    run("report", "last", "-o", tmp_path / "page.html")
    assert "Not finished: 5 of 10 answers are not yet generated" in (tmp_path / "page.html").read_text()


def test_the_export_is_what_the_audit_reads(run: Run, swept: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    ran = run("runs", "export", swept, "-o", path)
    assert "6 answers" in ran.err
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["arm"] for record in records} == {"baseline", "vector"}
    assert {record["layer"] for record in records} == {None, 2}
    assert {"text", "nll", "kl", "scores", "readings", "coherent", "degenerate", "tokens"} <= set(records[0])
    found = audit(outcomes(read_samples(path).samples, read_word_lists(WORD_LISTS.path("empathy"))))
    result = Runs().get(swept).result["models"][0]["series"][0]["success"]
    success = found.models["fake"].success
    assert (success.cells, success.paper.share) == (result["cells"], result["paper"]["share"])


def test_csv_holds_the_same(run: Run, swept: str) -> None:
    rows = list(csv.DictReader(io.StringIO(run("runs", "export", swept, "--format", "csv", "--arm", "all").out)))
    lines = run("runs", "export", swept, "--arm", "all").out.splitlines()
    assert len(rows) == len(lines) == 10
    assert [row["text"] for row in rows] == [json.loads(line)["text"] for line in lines]
    assert json.loads(rows[0]["scores"]) == json.loads(lines[0])["scores"]


def test_an_arm_that_is_not_there_is_one_line(run: Run, swept: str) -> None:
    ran = run("runs", "export", swept, "--arm", "both")
    assert ran.status == 0 or "has no answers of the arm" in ran.err
    fit = Runs().add("fit", "kindness on fake", {})
    ran = run("runs", "export", fit.id)
    assert ran.status == 2
    assert f"run {fit.id} is a fit: only a sweep has answers to export" in ran.err


def test_a_deleted_run_is_gone_with_its_cells(run: Run, swept: str) -> None:
    assert f"deleted sweep {swept}" in run("runs", "delete", swept).out
    with Runs().file.reading() as database:
        assert database.execute("SELECT count(*) FROM cells").fetchone() == (0,)
    ran = run("runs", "delete", swept)
    assert ran.status == 2
    assert f"no run '{swept}'" in ran.err


def test_merging_is_twice_the_same(run: Run, swept: str, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    first = run("runs", "merge", Runs().path, "-o", other)
    assert "1 runs, 10 new cells" in first.out
    second = run("runs", "merge", Runs().path, "-o", other)
    assert "1 runs, 0 new cells" in second.out
    assert Runs(other).get("last").result == Runs().get("last").result


def test_merging_what_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    ran = run("runs", "merge", tmp_path / "gone.sqlite")
    assert ran.status == 2
    assert "there is no store" in ran.err
    (tmp_path / "torn.sqlite").write_bytes(b"SQLite format 3\0 torn" * 100)
    ran = run("runs", "merge", tmp_path / "torn.sqlite", "-o", tmp_path / "new.sqlite")
    assert ran.status == 2
    assert ran.err.count("\n") == 1


def test_a_damaged_run_is_told_in_one_line_and_the_others_are_listed(run: Run) -> None:
    kept = Runs().add("fit", "kindness on fake", {})
    Runs().add("fit", "torn", {}, id="torn")
    with Runs().file.writing() as database:
        database.execute("UPDATE runs SET result = '{' WHERE id = 'torn'")
    ran = run("runs")
    assert ran.status == 0
    assert kept.id in ran.out
    assert "torn" not in ran.out
    (told,) = ran.err.splitlines()
    assert told.startswith(f"warning: run 'torn' in {Runs().path} is damaged (")
    assert told.endswith("`localprobe runs delete torn` removes it")
    assert run("runs", "show", "torn").status == 2
    assert run("runs", "delete", "torn").status == 0
    assert run("runs").err == ""


def test_a_run_whose_id_is_a_path_comes_into_no_store_and_into_no_name_of_a_file(
    run: Run, swept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, whole = tmp_path / "theirs.sqlite", tmp_path / "whole.sqlite"
    theirs.write_bytes(Runs().path.read_bytes())
    with Runs(theirs).file.writing() as database:
        database.execute("PRAGMA defer_foreign_keys = ON")
        row = database.execute("SELECT kind, name, created, about, result FROM runs").fetchone()
        database.execute("INSERT INTO runs VALUES ('x/../../evil', ?, ?, ?, ?, ?)", row)
    ran = run("runs", "merge", theirs, "-o", whole)
    assert ran.status == 0
    assert "warning: run 'x/../../evil' in " in ran.err
    assert [each.id for each in Runs(whole).summaries()] == [swept]
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert run("report", "x/", "--store", theirs, "--csv", "tables").status == 2
    assert not list(tmp_path.rglob("*evil*"))


def test_a_sweep_whose_cells_are_damaged_is_shown_without_them_and_makes_them_again(
    run: Run, swept: str, toml: Path
) -> None:
    before = {answer.cell.key: answer.text for answer in Cells(Runs(), swept).read()}
    with Runs().file.writing() as database:
        database.execute("UPDATE cells SET scores = '{' WHERE rowid <= 3")
    ran = run("runs", "show", swept)
    assert "7 of 10 cells; 3 are not yet generated" in ran.out
    assert ran.err.count("is damaged") == 3
    assert run("sweep", toml).status == 0
    assert {answer.cell.key: answer.text for answer in Cells(Runs(), swept).read()} == before
    assert run("runs", "show", swept).err == ""
