"""The Markdown page docs/benchmarks.md: a row for each measure, a column for each machine or build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.kept import FOLDER, Run

PATH = FOLDER.with_suffix(".md")
_INTRODUCTION = """\
# Benchmarks

`scripts/bench` draws this page from the runs in [benchmarks/](benchmarks/), one file for each machine or build. Run it
to add a column for your own machine; `scripts/bench SECTION...` measures some sections, `--page` puts them on the page,
`--name` says what the column is called, `--json` prints rows for a program to read.

Every number is a ratio, followed by what it is of: **ratio** (ours / other). Of timings, ours and the other run in
turn, in one process or as whole processes, after a run of each to warm up, so that whatever else the machine does
touches both alike; the numbers are medians. Peaks of memory are each of one process of its own. The model is
SmolLM2-135M (Q4_1, which torch and MLX get as float32), unless a row names another. Where less is better, the ratio is
ours over the other's and the goal says "at most"; a row without a goal is there to be compared. Decoding is timed from
the first token to the last; a watched answer's last pass, which scores that token, comes after it. Both sides of the
engines' rows on torch and MLX compute with the same arrays. Servers are asked over HTTP on loopback, prefill and all
included; every request to ours has its own message, steering and probe, and a beginning that no cache has.

For float32 on a CPU torch takes MKL; localprobe takes oneDNN, which torch has too, where that is clearly faster: it
times both once on each machine. "by MKL" says what the row before would be without that, on machines where it applies.
"""


def write(runs: Sequence[Run], path: Path = PATH) -> Path:
    """Write the page, and return its path."""
    path.write_text("\n".join(_lines(runs)), encoding="utf-8")
    return path


def judged(row: dict[str, Any]) -> str:
    """Whether a row keeps to its goal: `met`, `MISSED`, or nothing where it has none."""
    if "most" in row:
        return "met" if row["ratio"] <= row["most"] else "MISSED"
    if row.get("goal") is None:
        return ""
    return "met" if row["ratio"] >= row["goal"] else "MISSED"


def goal(row: dict[str, Any]) -> str:
    """A row's goal in words."""
    if "most" in row:
        return f"at most {row['most']:g}"
    return "" if row.get("goal") is None else f"at least {row['goal']:g}"


def _lines(runs: Sequence[Run]) -> Iterator[str]:
    yield _INTRODUCTION
    for run in runs:
        yield f"- **{run.name}**: {run.machine}"
        yield from (f"  - {line}" for line in _measured(run))
    for section in dict.fromkeys(name for run in runs for name in run.sections):
        yield from ("", f"## {section}", "")
        yield from _table(section, [run for run in runs if section in run.sections])
    yield ""


def _measured(run: Run) -> Iterator[str]:
    """When and with what the sections were measured, one line for those measured together; what was missing."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for name, section in run.sections.items():
        together.setdefault((section.date, section.command, section.versions), []).append(name)
    for (date, command, versions), names in together.items():
        yield f"{date}, `{command}` ({', '.join(names)}): {versions}"
    for library in dict.fromkeys(library for section in run.sections.values() for library in section.absent):
        yield f"not measured: {library}"


def _table(section: str, runs: Sequence[Run]) -> Iterator[str]:
    yield f"| measure | unit | goal | {' | '.join(run.name for run in runs)} |"
    yield f"| --- | --- | --- | {' | '.join('---:' for _ in runs)} |"
    columns = [_by_measure(section, run.sections[section].rows) for run in runs]
    rows = {measure: row for column in reversed(columns) for measure, row in column.items()}  # the first run's goals
    for measure in _ordered(columns):
        row = rows[measure]
        cells = [_cell(column.get(measure)) for column in columns]
        name = measure[-1].replace("|", r"\|")
        yield f"| {name} | {row['unit']} | {goal(row)} | {' | '.join(cells)} |"


def _by_measure(section: str, rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows by name. A name that begins with `the same` belongs to the row before that does not."""
    named: dict[tuple[str, str], dict[str, Any]] = {}
    above = ""
    for row in rows:
        name = str(row["measure"]).removeprefix(f"{section}: ")
        above = above if name.startswith("the same") else name
        named[above, name] = row
    return named


def _ordered(columns: Sequence[dict[tuple[str, str], Any]]) -> list[tuple[str, str]]:
    """Every measure once: rows that only a later run has come after the row that they follow there."""
    order: list[tuple[str, str]] = []
    for column in columns:
        place = 0
        for measure in column:
            if measure not in order:
                order.insert(place, measure)
            place = order.index(measure) + 1
    return order


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    missed = " MISSED" if judged(row) == "MISSED" else ""
    return f"**{row['ratio']:.2f}** ({_number(row['ours'])} / {_number(row['other'])}){missed}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
