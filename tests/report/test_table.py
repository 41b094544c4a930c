"""Tables, for people and for machines."""

from __future__ import annotations

import csv
import io

import pytest

from localprobe.report.table import Measured, Table


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Measured(0.8554, (0.7, 0.9512), 3), "0.855 [0.700, 0.951]"),
        (Measured(0.5), "0.50"),
        (Measured(0.935, (0.9, 1.0), percent=True), "94% [90%, 100%]"),
        (Measured(None), "-"),
    ],
)
def test_a_figure_with_its_interval(cell: Measured, text: str) -> None:
    assert str(cell) == text


def test_csv_holds_full_figures_and_intervals_in_columns_of_their_own() -> None:
    rows = ((8, Measured(1 / 3, (0.25, 0.5)), Measured(2.0), "a, b"), (12, Measured(None), Measured(None), 'say "c"'))
    table = Table("t", "T", ("layer", "AUROC", "z", "note"), rows)
    (first, second) = csv.DictReader(io.StringIO(table.csv()))
    assert float(first["AUROC"]) == 1 / 3
    assert (first["AUROC low"], first["AUROC high"], first["z"], first["note"]) == ("0.25", "0.5", "2.0", "a, b")
    assert (second["AUROC"], second["AUROC low"], second["note"]) == ("", "", 'say "c"')


def test_columns_of_figures_are_known_from_columns_of_words() -> None:
    table = Table("t", "T", ("a", "b", "c"), (("x", 1, Measured(2)), ("y", 2, Measured(None))))
    assert [table.numeric(i) for i in table.wide] == [False, True, True]
