"""Merging stores: the shards of a sweep, or the runs of two machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from localprobe.errors import UsageError
from localprobe.experiments import cells
from localprobe.experiments.result import SweepResult
from localprobe.experiments.summary import result_of
from localprobe.store.damaged import readable
from localprobe.store.json_values import to_json
from localprobe.store.names import is_file
from localprobe.store.runs import Run, Runs
from localprobe.store.stored_result import understood


def merge(sources: Sequence[Path], target: Runs) -> Iterator[str]:
    """Copy the runs of stores into another, with their cells; yields one line per store and per sweep.

    A run that is in several stores becomes one run with the cells of all. Raises LocalprobeError for a store that
    cannot be read; the stores before it stay copied.
    """
    missing = next((path for path in sources if not is_file(path)), None)
    if missing is not None:
        raise UsageError(f"there is no store {missing}")
    joined: dict[str, None] = {}
    for path in sources:
        if path.resolve() == target.path.resolve():
            continue
        runs, new = _copy(Runs(path), target)
        joined.update(dict.fromkeys(run.id for run in runs if run.kind == "sweep"))
        yield f"{path}: {len(runs)} runs, {new} new cells"
    for reference in joined:
        run = target.get(reference)
        result = readable(
            partial(current_result, target, run), f"run {run.id}", target.path, "its result stays as it was"
        )
        if result is None:
            continue
        target.add(run.kind, run.name, to_json(result), about=run.about, id=run.id)
        yield f"run {run.id}, {run.name}: {result.cells.done} of {result.cells.expected} cells"


def current_result(runs: Runs, run: Run) -> SweepResult:
    """The result of all cells that a sweep has now. DataError if what the run is about is damaged."""
    answers = cells.Cells(runs, run.id).read()
    with understood(run):
        return result_of(run.about, answers)


def fresh(runs: Runs, run: Run) -> Run:
    """The run; if it is a sweep, with the result of all cells that it has now."""
    return replace(run, result=to_json(current_result(runs, run))) if run.kind == "sweep" else run


def _copy(source: Runs, target: Runs) -> tuple[list[Run], int]:
    runs = source.all()
    existing = {run.id: run for run in target.all()}
    for run in reversed(runs):  # the newest last, as they came
        if run.id not in existing:
            target.add(run.kind, run.name, run.result, about=run.about, id=run.id)
        elif run.kind == "sweep":
            about = readable(
                partial(_about, existing[run.id], run), f"run {run.id}", source.path, "only its cells count"
            )
            if about is not None:
                target.add(run.kind, run.name, existing[run.id].result, about=about, id=run.id)
    kept = {run.id for run in target.all()}
    with source.file.reading() as source_cells, target.file.writing() as target_cells:
        return runs, cells.merge(source_cells, target_cells, kept, source.path)


def _about(existing: Run, new: Run) -> dict[str, Any]:
    """What two shards of a sweep are about."""
    waiting = {choice: n for choice, n in new.about["waiting"].items() if choice in existing.about["waiting"]}
    return {**existing.about, "models": _models(existing, new), "waiting": waiting}


def _models(*runs: Run) -> list[dict[str, Any]]:
    """Facts about the models of one experiment, each once; a shard may lack some of them."""
    models = {
        (facts["model"], facts["engine"], facts["dtype"], facts["weights"]): facts
        for run in reversed(runs)
        for facts in run.about["models"]
    }
    return list(models.values())
