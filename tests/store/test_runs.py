"""The store of runs: whole or not at all, found by the beginning of an id."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from localprobe.errors import DataError, LocalprobeError, UsageError
from localprobe.store.damaged import DamagedRow
from localprobe.store.runs import SCHEMA, Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs.sqlite")


def test_a_run_comes_back_as_it_was_kept_with_what_it_takes_to_repeat_it(runs: Runs) -> None:
    kept = runs.add("validate", "empathy on fake", {"auroc": 0.5, "name": "é"}, about={"weights": "abc"})
    found = runs.get(kept.id)
    assert found == kept
    assert found.result == {"auroc": 0.5, "name": "é"}
    assert found.about["weights"] == "abc"
    assert "numpy" in found.about["versions"]
    assert found.about["command"]


def test_the_newest_run_comes_first_and_is_the_last_one(runs: Runs) -> None:
    for name in ("a", "b", "c"):
        runs.add("fit" if name == "b" else "validate", name, {})
    assert [run.name for run in runs.all()] == ["c", "b", "a"]
    assert [run.name for run in runs.all("fit")] == ["b"]
    assert runs.get("last").name == "c"


def test_a_run_with_the_id_of_another_takes_its_place(runs: Runs) -> None:
    first = runs.add("sweep", "half", {"cells": 1})
    runs.add("sweep", "whole", {"cells": 2}, id=first.id)
    assert [(run.id, run.name) for run in runs.all()] == [(first.id, "whole")]


def test_a_run_is_found_by_its_whole_id_alone(runs: Runs) -> None:
    kept = runs.add("fit", "a", {}, id="aa11")
    assert runs.find("aa11") == kept
    assert runs.find("aa") is None


def test_a_list_shows_the_headline_of_a_result_and_parses_no_more_of_it(runs: Runs) -> None:
    layers = [{"layer": 2, "auroc": 0.75, "random": {}}, {"layer": 3, "auroc": 0.9, "random": {}}]
    runs.add("correlate", "empathy on fake", {"models": []})
    runs.add("sweep", "begun", {})
    runs.add("sweep", "half: fake", {"cells": {"done": 3, "expected": 6}, "models": []})
    runs.add("validate", "empathy on fake", {"layer": 3, "layers": layers})
    assert [(run.kind, run.name, run.headline) for run in runs.summaries()] == [
        ("validate", "empathy on fake", {"layer": 3, "auroc": 0.9}),
        ("sweep", "half: fake", {"done": 3, "expected": 6}),
        ("sweep", "begun", {}),
        ("correlate", "empathy on fake", {}),
    ]


def test_one_run_is_read_though_another_cannot_be(runs: Runs) -> None:
    kept = runs.add("fit", "a", {"layer": 1})
    runs.add("fit", "b", {}, id="torn")
    with runs.file.writing() as database:
        database.execute("UPDATE runs SET about = 'not JSON' WHERE id = 'torn'")
    assert runs.get(kept.id[:4]) == kept


DAMAGE = {
    "result = '{\"layers\"'": "JSON",
    "about = '[]'": "",
    "result = '7'": "",
    "result = x'00ff'": "",
    "name = x'00'": "",
    'kind = \'sweep\', result = \'{"cells": {"done": "all"}}\'': "",
    'kind = \'fit\', result = \'{"layer": 1, "layers": [{"layer": 1, "auroc": "high"}]}\'': "",
    "id = 'x/../../evil'": "an id that could leave its folder",
}


@pytest.mark.parametrize(("damage", "why"), DAMAGE.items())
def test_a_damaged_run_is_skipped_and_told_and_can_be_deleted(runs: Runs, damage: str, why: str) -> None:
    kept = runs.add("validate", "a", {"layer": 1, "layers": [7, {"layer": 1, "auroc": 0.75}]})
    runs.add("fit", "b", {}, id="torn")
    with runs.file.writing() as database:
        database.execute(f"UPDATE runs SET {damage} WHERE id = 'torn'")
    name = "x/../../evil" if damage.startswith("id") else "torn"
    told = rf"^run '{name}' in .*runs\.sqlite is damaged \(.*{why}.*\): it was skipped; `localprobe runs delete {name}`"
    with pytest.warns(DamagedRow, match=told):
        assert [(run.id, run.headline) for run in runs.summaries()] == [(kept.id, {"layer": 1, "auroc": 0.75})]
    assert runs.delete(name).id == name
    assert [run.id for run in runs.summaries()] == [kept.id]


def test_the_last_run_is_the_last_one_that_can_be_read(runs: Runs) -> None:
    kept = runs.add("fit", "a", {})
    runs.add("fit", "b", {}, id="torn")
    with runs.file.writing() as database:
        database.execute("UPDATE runs SET result = '{' WHERE id = 'torn'")
    with pytest.warns(DamagedRow):
        assert runs.get("last") == kept
    with pytest.warns(DamagedRow):
        assert runs.all() == [kept]
    with pytest.raises(
        DataError, match=r"run 'torn' in .* is damaged \(.*\): `localprobe runs delete torn` removes it"
    ):
        runs.get("torn")


def test_bytes_that_are_no_text_hide_nothing(runs: Runs) -> None:
    runs.add("fit", "b", {}, id="odd")
    with runs.file.writing() as database:
        database.execute("UPDATE runs SET name = CAST(x'ff41' AS TEXT)")
    assert [run.name for run in runs.summaries()] == ["\ufffdA"]


@pytest.mark.parametrize("id", ["", "x/../../evil", "..", "/etc/passwd", "a b", "-x", "a\nb", "c:d", "x" * 65])
def test_an_id_that_could_lead_out_of_a_folder_is_refused(runs: Runs, id: str) -> None:  # noqa: A002
    with pytest.raises(UsageError, match="cannot be the id of a run"):
        runs.add("fit", "a", {}, id=id)


def test_a_deleted_run_is_gone(runs: Runs) -> None:
    kept = runs.add("fit", "a", {})
    assert runs.delete(kept.id[:6]).name == "a"
    assert runs.all() == []


def test_reading_makes_no_file(runs: Runs) -> None:
    assert runs.all() == runs.summaries() == []
    assert runs.find("aa11") is None
    assert not runs.path.exists()


def test_a_reference_that_names_nothing_or_too_much_says_what_there_is(runs: Runs) -> None:
    with pytest.raises(UsageError, match=r"no run 'last'.*none at all"):
        runs.get("last")
    runs.add("fit", "a", {}, id="aa11")
    runs.add("fit", "b", {}, id="aa22")
    with pytest.raises(UsageError, match=r"^2 runs begin with .aa.: aa22, aa11$"):
        runs.get("aa")
    with pytest.raises(UsageError, match=r"no run 'zz'.*aa22, aa11"):
        runs.get("zz")


def test_a_store_of_a_newer_localprobe_is_left_alone(runs: Runs) -> None:
    runs.add("fit", "a", {})
    with sqlite3.connect(runs.path) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA.format + 1}")
    with pytest.raises(LocalprobeError, match="newer localprobe"):
        runs.all()


def test_a_file_that_is_no_store_is_said_to_be_none(runs: Runs) -> None:
    runs.path.write_bytes(b"this is not a database, and long enough to be read as one" * 20)
    with pytest.raises(LocalprobeError, match=r"runs\.sqlite"):
        runs.all()


def test_what_fails_half_way_leaves_nothing(runs: Runs) -> None:
    runs.add("fit", "a", {})
    with pytest.raises(RuntimeError), runs.file.writing() as database:
        database.execute("DELETE FROM runs")
        raise RuntimeError
    assert len(runs.all()) == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalprobeError, match="cannot make the folder"):
        Runs(tmp_path / "file" / "runs.sqlite").add("fit", "a", {})


def _add(path: Path, number: int) -> None:
    Runs(path).add("fit", str(number), {"number": number})


def test_processes_that_write_at_once_all_get_their_runs_in(runs: Runs) -> None:
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_add, [runs.path] * 24, range(24)))
    assert sorted(run.result["number"] for run in runs.all()) == list(range(24))
