"""The table of cells: written once, measured later, gone with its run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.errors import LocalprobeError
from localprobe.experiments.cells import CellAnswer, CellMeasures, Cells, Judgement, merge
from localprobe.experiments.grid import Cell
from localprobe.store.damaged import DamagedRow
from localprobe.store.runs import Runs

MEASURES = CellMeasures(nll=1.5, readings={"kindness:2": 0.5}, kl=0.25)
CELL = Cell("k1", "s1", "fake", "fake", "", "vector", "hello", True, "", "kindness", 2, 0.5, 1.5, 0)


def answer(cell: Cell = CELL, text: str = "héllo\n", **more: object) -> CellAnswer:
    return CellAnswer(cell, text, "length", np.array([1, 70000], np.int32), {"kindness:2": 0.25}, **more)  # type: ignore[arg-type]


@pytest.fixture
def cells(runs: Runs) -> Cells:
    runs.add("sweep", "a", {}, id="aaaa0000")
    return Cells(runs, "aaaa0000")


def test_an_answer_comes_back_as_it_was(cells: Cells) -> None:
    assert cells.write([answer()]) == 1
    (found,) = cells.read()
    assert found.cell == CELL
    assert (found.text, found.reason, found.ids.tolist()) == ("héllo\n", "length", [1, 70000])
    assert found.ids.dtype == np.int32
    assert found.scores == {"kindness:2": 0.25}
    assert found.measures is None is found.judgement


def test_the_first_to_finish_a_cell_counts(cells: Cells) -> None:
    cells.write([answer()])
    assert cells.write([answer(text="another"), answer(replace(CELL, key="k2"))]) == 1
    assert [found.text for found in cells.read()] == ["héllo\n", "héllo\n"]
    assert cells.keys() == {"k1", "k2"}


def test_measures_come_beside_the_answer(cells: Cells) -> None:
    cells.write([answer(), answer(replace(CELL, key="k2", sample=1))])
    cells.measured({"k1": MEASURES})
    cells.judged({"k2": Judgement(2, "2: it lets her pass", "judge-7b")})
    one, two = cells.read()
    assert (one.measures, one.judgement) == (MEASURES, None)
    assert (two.measures, two.judgement) == (None, Judgement(2, "2: it lets her pass", "judge-7b"))


def test_the_order_is_that_of_what_was_asked(cells: Cells) -> None:
    several = [replace(CELL, key=str(n), dose=dose, sample=n) for n, dose in enumerate((0.5, -0.5, 0.0))]
    cells.write([answer(cell) for cell in several])
    assert [found.cell.dose for found in cells.read()] == [-0.5, 0.0, 0.5]


def test_cells_go_with_their_run(cells: Cells, runs: Runs) -> None:
    cells.write([answer()])
    runs.delete("aaaa0000")
    with runs.file.reading() as database:
        assert database.execute("SELECT count(*) FROM cells").fetchone() == (0,)


def test_a_run_that_is_kept_again_keeps_its_cells(cells: Cells, runs: Runs) -> None:
    cells.write([answer()])
    runs.add("sweep", "b", {"cells": 1}, id="aaaa0000")
    assert len(cells.read()) == 1


def test_a_cell_without_its_run_is_refused(cells: Cells, runs: Runs) -> None:
    runs.delete("aaaa0000")
    with pytest.raises(LocalprobeError, match="FOREIGN KEY"):
        cells.write([answer()])


def test_another_run_takes_over_what_is_there(cells: Cells, runs: Runs) -> None:
    cells.write([answer(measures=MEASURES)])
    runs.add("sweep", "b", {}, id="bbbb0000")
    other = Cells(runs, "bbbb0000")
    mine = replace(CELL, label="uncensored")
    other.adopt([mine, replace(CELL, key="k9")])
    (found,) = other.read()
    assert found.cell == mine  # as this experiment calls it
    assert (found.text, found.measures) == ("héllo\n", MEASURES)
    assert len(cells.read()) == 1


def test_stores_are_joined_and_what_one_has_measured_is_kept(cells: Cells, runs: Runs) -> None:
    cells.write([answer(), answer(replace(CELL, key="k2", sample=1))])
    other = Runs(runs.path.with_name("other.sqlite"))
    other.add("sweep", "a", {}, id="aaaa0000")
    theirs = Cells(other, "aaaa0000")
    theirs.write([answer(measures=MEASURES), answer(replace(CELL, key="k3", sample=2))])
    with other.file.reading() as source, runs.file.writing() as target:
        assert merge(source, target, {"aaaa0000"}, other.path) == 1
    assert [(found.cell.key, found.measures) for found in cells.read()] == [
        ("k1", MEASURES),
        ("k2", None),
        ("k3", None),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        "scores = '{\"kindness:2\": 0.2'",
        "scores = '[1]'",
        "ids = x'010203'",
        "ids = 'text'",
        "text = x'ff00'",
        "sample = 'first'",
        'measures = \'{"nll": "high"}\'',
        "judgement = '1e'",
    ],
)
def test_a_damaged_cell_hides_no_other_and_is_generated_again(cells: Cells, runs: Runs, damage: str) -> None:
    cells.write([answer(), answer(replace(CELL, key="k2", sample=1))])
    with runs.file.writing() as database:
        database.execute(f"UPDATE cells SET {damage} WHERE key = 'k1'")
    with pytest.warns(DamagedRow, match=r"^cell k1 of run aaaa0000 in .*runs\.sqlite is damaged .* it was skipped$"):
        assert [found.cell.key for found in cells.read()] == ["k2"]
    other = Runs(runs.path.with_name("other.sqlite"))
    other.add("sweep", "a", {}, id="aaaa0000")
    with runs.file.reading() as source, other.file.writing() as target, pytest.warns(DamagedRow, match="cell k1"):
        assert merge(source, target, {"aaaa0000"}, runs.path) == 1
    with pytest.warns(DamagedRow, match="it is generated again"):
        cells.mend()
    assert cells.keys() == {"k2"}
