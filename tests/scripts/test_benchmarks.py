"""The page of benchmarks: a column for each machine, and what a machine lacks said in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.serve.process import ASK, LONG, started


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from benchmarks import __main__ as main

    return main


def row(section: str, measure: str, ratio: float, **goal: float | None) -> dict[str, Any]:
    goal = goal or {"goal": None}
    return {
        "section": section,
        "measure": measure,
        "ours": 10 * ratio,
        "other": 10,
        "unit": "s",
        "ratio": ratio,
        **goal,
    }


def draw(bench: ModuleType, folder: Path) -> list[str]:
    return bench.page.write(bench.kept.runs(folder), folder.with_suffix(".md")).read_text().splitlines()


def test_each_machine_has_a_column_and_each_measure_a_row(bench: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    bench.kept.keep(
        "AMD, AVX-512",
        [
            row("load", "load: one", 1.5, goal=1.0),
            row("load", "the same by MKL", 1.2),
            row("load", "two", 0.9, goal=1.0),
        ],
        {"load": []},
        "scripts/bench",
        folder,
    )
    bench.kept.keep(
        "Intel", [row("load", "load: one", 0.8, goal=1.0), row("load", "two", 1.1, goal=1.0)], {"load": []}, "x", folder
    )
    lines = draw(bench, folder)
    assert [line for line in lines if line.startswith("|")] == [
        "| measure | unit | goal | AMD, AVX-512 | Intel |",
        "| --- | --- | --- | ---: | ---: |",
        "| one | s | at least 1 | **1.50** (15 / 10) | **0.80** (8 / 10) MISSED |",
        "| the same by MKL | s |  | **1.20** (12 / 10) |  |",
        "| two | s | at least 1 | **0.90** (9 / 10) MISSED | **1.10** (11 / 10) |",
    ]
    assert any(line.startswith("- **Intel**: ") for line in lines)


def test_a_row_that_only_a_later_machine_has_follows_the_row_before_it(bench: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    bench.kept.keep("a", [row("s", "one", 1), row("s", "two", 1)], {"s": []}, "x", folder)
    both = [row("s", "one", 1), row("s", "the same by MKL", 2), row("s", "two", 1), row("s", "the same by MKL", 3)]
    bench.kept.keep("b", both, {"s": []}, "x", folder)
    cells = [line.split("|")[1:-1] for line in draw(bench, folder) if line.startswith("| ")][2:]
    assert [(cell[0].strip(), cell[-1].strip()) for cell in cells] == [
        ("one", "**1.00** (10 / 10)"),
        ("the same by MKL", "**2.00** (20 / 10)"),
        ("two", "**1.00** (10 / 10)"),
        ("the same by MKL", "**3.00** (30 / 10)"),
    ]


def test_sections_that_are_measured_again_replace_theirs_and_leave_the_others(
    bench: ModuleType, tmp_path: Path
) -> None:
    first = [row("load", "one", 1.0), row("tui", "two", 2.0)]
    bench.kept.keep("a", first, {"load": [], "tui": ["textual"]}, "all", tmp_path)
    run = bench.kept.keep("a", [row("load", "one", 3.0, most=2.0)], {"load": []}, "load", tmp_path)
    assert bench.kept.runs(tmp_path) == [run]
    assert [run.sections[name].command for name in ("load", "tui")] == ["load", "all"]
    lines = bench.page.write([run], tmp_path / "page.md").read_text().splitlines()
    assert "| one | s | at most 2 | **3.00** (30 / 10) MISSED |" in lines
    assert "| two | s |  | **2.00** (20 / 10) |" in lines
    assert "  - not measured: textual" in lines


def test_the_page_in_the_documentation_is_drawn_from_the_runs_beside_it(bench: ModuleType, tmp_path: Path) -> None:
    drawn = bench.page.write(bench.kept.runs(), tmp_path / "page.md")
    assert drawn.read_text() == bench.page.PATH.read_text()


def test_mlx_without_a_fast_blas_is_left_out_in_one_line(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(bench, "find_spec", lambda name: name)
    monkeypatch.setattr(bench.machine, "openblas", lambda: None)
    monkeypatch.setattr(bench, "run", lambda module: [{"measure": module, **row("", "", 1.0)}])
    rows, absent = bench.measure(["sweep"])
    assert len(rows) == 2
    assert absent == {"sweep": [bench.NO_BLAS]}
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "mlx" in line]
    assert line == (
        "sweep: sweep_mlx is left out: mlx_lm (on Linux it needs OpenBLAS to be of any speed: on Debian, "
        "apt-get install libopenblas0-pthread)"
    )


def test_a_section_that_fails_costs_its_own_rows(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "good.py").write_text(f"print('noise')\nprint({json.dumps(json.dumps([row('', 'one', 1.0)]))})")
    (package / "bad.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bench, "SECTIONS", {"s": [("bad", None), ("good", None)]})
    rows, absent = bench.measure(["s"])
    assert [row["measure"] for row in rows] == ["one"]
    assert absent == {"s": ["benchmarks.bad (which failed)"]}


def test_clients_of_a_server_time_the_tokens_of_real_answers(bench: ModuleType) -> None:
    from benchmarks.serve_clients import Clients

    with started() as server:
        clients = Clients(server.url)
        try:
            assert clients.at_once([ASK] * 3) > 0
            assert clients.in_turn([ASK] * 2) > 0
            assert clients.rate(LONG) > 0
            assert len(clients.first([LONG] * 3, apart=0.01)) == 3
            with pytest.raises(RuntimeError, match="no model 'missing' here"):
                clients.at_once([{**ASK, "model": "missing"}])
        finally:
            clients.close()


def test_a_server_that_does_not_start_says_why(bench: ModuleType) -> None:
    from benchmarks.serve_clients import process

    command = [sys.executable, "-c", "import sys; sys.exit('the port is taken')"]
    with pytest.raises(SystemExit, match="the port is taken"), process(command):
        pass
