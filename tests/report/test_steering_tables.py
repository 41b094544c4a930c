"""Tables against figures worked out by hand."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from localprobe.report import steering_tables as tables
from localprobe.report.steering_arms import Arms, every
from localprobe.report.table import Measured, Table
from tests.report.sweeps import CARING, LOOP, At, sweep


def writes(at: At) -> str:
    """Bus: 50 %, and 100 % above 0. Rain: always 100 %. Everything loops at dose -0.4, which is no caring."""
    if at.arm == "vector" and at.dose == -0.4:
        return LOOP
    if at.scenario == "rain" or (at.arm == "vector" and at.dose > 0):
        return CARING
    return at.share(0.5)


@pytest.fixture(scope="module")
def arms() -> Arms:
    (found,) = every(sweep(writes, prompts=[("bus", True), ("rain", True)], samples=4))
    return found


def column(table: Table, name: str) -> list[Any]:
    at = table.columns.index(name)
    return [row[at].value if isinstance(row[at], Measured) else row[at] for row in table.rows]  # type: ignore[union-attr]


def test_table_4_by_hand(arms: Arms) -> None:
    """Four cells a row. Bus: -0.4 lowers, -0.2 changes nothing (a null effect), both positive ones raise. Rain: -0.4
    lowers, -0.2 changes nothing (null), the positive ones cannot raise."""
    table = tables.table_4([arms])
    assert column(table, "model") == ["tiny"] * 4
    assert column(table, "layer") == [1, 1, 2, 2]
    assert column(table, "scenario") == ["The Bus", "The Rain"] * 2
    assert column(table, "success, paper's rule") == [1.0, 0.5, 1.0, 0.5]
    assert column(table, "success, strict") == [0.75, 0.25, 0.75, 0.25]
    assert column(table, "null effects") == [1, 1, 1, 1]
    assert column(table, "coherent, paper's rule") == [1.0] * 4
    assert column(table, "degenerate") == [0.25] * 4


def test_totals_have_every_arm_with_intervals(arms: Arms) -> None:
    table = tables.totals([arms])
    assert column(table, "arm") == ["vector", "random", "vector, negative prompt", "vector, positive prompt"]
    assert column(table, "success, paper's rule")[:2] == [0.75, 0.5]
    assert column(table, "success, strict")[:2] == [0.5, 0.0]
    assert column(table, "null effects") == [4, 8, 8, 8]
    assert column(table, "broken")[0] == 4  # the strict successes at -0.4, where all is a loop
    assert column(table, "usable")[0] == "-0.2 to +0.4"
    first = table.rows[0][table.columns.index("success, strict")]
    assert isinstance(first, Measured)
    assert first.interval is not None
    assert first.interval[0] < 0.5 < first.interval[1]


def test_measures_by_dose(arms: Arms) -> None:
    table = tables.doses(arms)
    assert column(table, "layer") == [1] * 5 + [2] * 5
    assert column(table, "dose")[:5] == [-0.4, -0.2, 0.0, 0.2, 0.4]
    assert column(table, "alpha")[:5] == [-4.0, -2.0, 0.0, 2.0, 4.0]
    assert column(table, "answers")[:5] == [8] * 5
    assert column(table, "empathy")[:5] == [0.0, 0.75, 0.75, 1.0, 1.0]
    assert column(table, "degenerate")[:5] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert column(table, "fooled")[:5] == [8, 0, 0, 0, 0]
    assert column(table, "score")[:5] == pytest.approx([-0.8, -0.4, 0.0, 0.4, 0.8])
    assert column(table, "reading")[:5] == pytest.approx([-0.4, -0.2, 0.0, 0.2, 0.4])
    assert column(table, "perplexity ratio")[:3] == pytest.approx([1.4918, 1.2214, 1.0], rel=1e-4)
    assert column(table, "KL")[:3] == pytest.approx([0.4, 0.2, 0.0])
    assert "judge" not in table.columns


def test_other_arms_have_a_table_of_their_own(arms: Arms) -> None:
    table = tables.other_doses(arms)
    assert dict.fromkeys(column(table, "arm")) == dict.fromkeys(
        ["random", "vector, negative prompt", "vector, positive prompt"]
    )


def test_sceptic_sets_the_arms_side_by_side(arms: Arms) -> None:
    table = tables.sceptic(arms)
    assert column(table, "what") == [
        "nothing",
        "vector",
        "random directions, same strength",
        "system prompts, no vector",
        "both",
    ]
    assert column(table, "empathy, pulled towards") == [0.75, 1.0, 0.75, 0.75, 0.75]
    assert column(table, "empathy, pulled away") == [None, 0.75, 0.75, 0.75, 0.75]
    assert column(table, "KL, away")[:2] == pytest.approx([0.0, 0.2])


def test_system_prompts(arms: Arms) -> None:
    table = tables.system_prompts(arms)
    assert table is not None
    assert column(table, "prompt") == ["The Bus", "The Rain"]
    assert column(table, "none") == [0.5, 1.0]
    assert column(table, "positive system prompt") == [0.5, 1.0]
    assert tables.system_prompts(every(sweep(writes, arms=("vector",), samples=1))[0]) is None


def test_pressure_is_a_table_where_both_kinds_were_asked(arms: Arms) -> None:
    assert tables.pressure(arms) is None
    (found,) = every(sweep(writes, prompts=[("bus", True), ("bus", False)], samples=4, arms=("vector",)))
    table = tables.pressure(found)
    assert table is not None
    assert column(table, "prompts") == ["with the pressure", "without"]
    assert column(table, "unsteered") == [0.5, 0.5]
    assert column(table, "pulled towards") == [1.0, 1.0]
    assert column(table, "success, strict") == [0.75, 0.75]


def test_every_condition_goes_into_the_csv(arms: Arms) -> None:
    table = tables.conditions(arms)
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert len(rows) == 4 * 2 * 2 * 5  # series, layers, prompts, doses
    loop = next(row for row in rows if row["dose"] == "-0.4" and row["arm"] == "vector")
    assert (loop["empathy"], loop["degenerate"], loop["fooled"]) == ("0.0", "1.0", "4")
    assert loop["why degenerate"].startswith("one phrase over and over (4)")


@pytest.mark.parametrize("table", [tables.totals, tables.table_4])
def test_models_carry_their_label(table: Any) -> None:
    found = every(sweep(writes, models=[("a", "uncensored"), ("b", "")], arms=("vector",), samples=1))
    assert set(column(table(found), "model")) == {"a (uncensored)", "b"}


def test_what_was_not_measured_is_a_dash() -> None:
    (found,) = every(sweep(writes, arms=("vector",), samples=1, measured=False))
    table = tables.doses(found)
    assert [str(row[-1]) for row in table.rows] == ["-"] * 10  # KL
    assert [str(row[-2]) for row in table.rows] == ["-"] * 10  # perplexity ratio
