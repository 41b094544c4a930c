"""`localprobe runs`: recorded runs and their results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.output import say, say_json, write_data

if TYPE_CHECKING:
    from localprobe.store.runs import Run, RunSummary

_STORE = click.option("--store", type=click.Path(path_type=Path), help="File of runs; localprobe's own if not given.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group(invoke_without_command=True)
@_STORE
@_JSON
@click.pass_context
def runs(context: click.Context, store: Path | None, as_json: bool) -> None:
    """List runs, the newest first; show, export, merge or delete them.

    A RUN is an id, the beginning of one, or `last`.
    """
    context.obj = store
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from localprobe.cli.show import Console
    from localprobe.store.runs import Runs

    summaries = Runs(store).summaries()
    if as_json:
        say_json([_line(run, run.headline) for run in summaries])
        return
    if not summaries:
        say(f"no runs in {Runs(store).path} yet")
        return
    table = Table(box=None, header_style="bold")
    for name in ("run", "what", "about", "cells", "when (UTC)"):
        table.add_column(name)
    for run in summaries:
        table.add_row(run.id, run.kind, run.name, _cells(run), run.created[:16].replace("T", " "))
    Console().print(table)


@runs.command()
@click.argument("run")
@_STORE
@_JSON
@click.pass_context
def show(context: click.Context, run: str, store: Path | None, as_json: bool) -> None:
    """Show the result of RUN; of an unfinished sweep, its result so far."""
    from localprobe.experiments.merge import fresh
    from localprobe.store.runs import Runs

    saved = Runs(store or context.obj)
    record = fresh(saved, saved.get(run))
    if as_json:
        line = _line(record, record.result.get("cells"))
        say_json({**line, "about": record.about, "result": record.result})
        return
    say(f"{record.id}  {record.kind}  {record.name}  {record.created}")
    say(f"command: {record.about.get('command', 'unknown')}")
    if record.kind == "sweep":
        from localprobe.cli.sweep_table import show as table

        table(record)
        return
    say_json(record.result, indent=1)


@runs.command()
@click.argument("run")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--arm",
    type=click.Choice(["vector", "random", "both", "system", "ablate", "random-ablate", "steering", "all"]),
    default="vector",
    show_default=True,
    help="Which answers, with the unsteered ones to compare; steering: under expressions. localprobe audit reads "
    "those of vector and of random.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write; stdout if not given.")
@_STORE
@click.pass_context
def export(context: click.Context, run: str, form: str, arm: str, output: Path | None, store: Path | None) -> None:
    """Write every answer of a sweep with its measures, one per line, for `localprobe audit` and other programs."""
    from localprobe.experiments.export import as_csv, as_jsonl, lines
    from localprobe.store.files import write_whole
    from localprobe.store.runs import Runs

    saved = Runs(store or context.obj)
    records = lines(saved, saved.get(run), arm)
    text = as_jsonl(records) if form == "jsonl" else as_csv(records)
    if output is None:
        write_data(text)
        return
    write_whole(output, text.encode())
    say(f"{len(records)} answers -> {output}", err=True)


@runs.command()
@click.argument("run")
@_STORE
@click.pass_context
def delete(context: click.Context, run: str, store: Path | None) -> None:
    """Delete RUN and its cells."""
    from localprobe.store.runs import Runs

    deleted = Runs(store or context.obj).delete(run)
    say(f"deleted {deleted.kind} {deleted.id}: {deleted.name}")


@runs.command()
@click.argument("stores", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Store to merge them into; localprobe's own if not given."
)
@click.pass_context
def merge(context: click.Context, stores: tuple[Path, ...], output: Path | None) -> None:
    """Merge the runs of STORES, such as the shards of a sweep, and compute the results of the whole.

    \b
    localprobe runs merge a.sqlite b.sqlite c.sqlite -o whole.sqlite
    """
    from localprobe.experiments.merge import merge as join
    from localprobe.store.runs import Runs

    target = Runs(output or context.obj)
    for line in join(stores, target):
        say(line)


def _line(run: Run | RunSummary, cells: Mapping[str, Any] | None) -> dict[str, Any]:
    about = {"id": run.id, "kind": run.kind, "name": run.name, "created": run.created}
    return {**about, "cells": cells or None} if run.kind == "sweep" else about


def _cells(run: RunSummary) -> str:
    return f"{run.headline['done']}/{run.headline['expected']}" if run.kind == "sweep" and run.headline else ""
