"""Runs as one HTML page that needs no network: verdicts first, then figures and tables, then how to repeat the runs.

`page` returns the page as text, `write` writes it to a file, and `write_csv` writes each of its tables as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localprobe.errors import UsageError
from localprobe.probing.detection import Comparison, Ratings
from localprobe.probing.result import ProbeResult
from localprobe.report.section import Section
from localprobe.report.table import Table
from localprobe.store.runs import Run
from localprobe.store.stored_result import result_of, understood


def sections(run: Run) -> list[Section]:
    """The sections of one run. Raises UsageError for a kind of run without a report, DataError for a result of another
    version."""
    from localprobe.report import detection

    match run.kind:
        case "validate":
            return [detection.one(result_of(ProbeResult, run), run.name)]
        case "compare":
            return detection.compared(result_of(Comparison, run))
        case "correlate":
            return detection.rated(result_of(Ratings, run))
        case "reproduce":
            sections = detection.compared(result_of(Comparison, run, "detection"))
            return sections + (_steering(run, "steering") if run.result.get("steering") else [])
        case "sweep":
            return _steering(run)
    raise UsageError(f"run {run.id} is a {run.kind}: a report shows validate, compare, correlate, reproduce and sweep")


def tables(runs: Sequence[Run]) -> list[Table]:
    """Every table of some runs."""
    return [table for run in runs for section in sections(run) for table in section.every_table]


def page(runs: Sequence[Run]) -> str:
    """One HTML page of runs, in the given order. Raises UsageError for a kind of run without a report."""
    from jinja2 import Environment

    source = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    entries = [_entry(run) for run in runs]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    return environment.from_string(source).render(runs=entries, title=title)


def write(runs: Sequence[Run], path: Path) -> None:
    """Write the page to a file atomically. Raises UsageError, or LocalprobeError if the disk refuses."""
    from localprobe.store.files import write_whole

    write_whole(path, page(runs).encode())


def write_csv(runs: Sequence[Run], folder: Path) -> int:
    """Write each table to its own file in a folder; returns how many. Raises LocalprobeError if the disk refuses."""
    from localprobe.store.files import write_whole

    files = [(f"{run.id}-{table.name}.csv", table) for run in runs for table in tables([run])]
    for name, table in files:
        write_whole(folder / name, table.csv().encode())
    return len(files)


def _entry(run: Run) -> dict[str, object]:
    with understood(run):
        return {"run": run, "sections": sections(run), "repeat": _repeat(run)}


def _steering(run: Run, part: str = "") -> list[Section]:
    from localprobe.experiments.result import SweepResult
    from localprobe.report import steering

    return steering.sections(result_of(SweepResult, run, part))


def _repeat(run: Run) -> list[tuple[str, str]]:
    """How to repeat a run, as (name, value) lines."""
    about = run.about
    lines = [("command", str(about.get("command", ""))), ("in folder", str(about.get("folder", "")))]
    lines += [("machine", str(about.get("machine", ""))), ("made", run.created), ("run", run.id)]
    lines += [(name, str(version)) for name, version in about.get("versions", {}).items()]
    lines += [(f"SHA-256 of {name}", str(value)) for name, value in about.get("hashes", {}).items()]
    result = run.result.get("detection") or run.result
    probes = [model if "measured_on" in model else model.get("probe") or model for model in result.get("models", ())]
    loads = [result.get("measured_on"), *(probe.get("measured_on", probe) for probe in probes)]
    for load in filter(None, loads):
        load_info = ", ".join(
            str(load[name]) for name in ("engine", "device", "dtype", "quantisation") if load.get(name)
        )
        lines.append((f"weights of {load['model']}", f"{load['weights']} ({load_info}; {load['version']})"))
    return [(name, value) for name, value in lines if value]
