"""`localprobe report`: runs as one HTML page, as JSON, or as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.store.runs import Run


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The page to write; report-RUN.html if not given."
)
@click.option("--csv", "folder", type=click.Path(path_type=Path), help="Also write every table to this folder, as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print the runs as JSON, and write no page.")
@click.option("--store", type=click.Path(path_type=Path), help="Another file of runs.")
def report(runs: tuple[str, ...], output: Path | None, folder: Path | None, as_json: bool, store: Path | None) -> None:
    """Make one self-contained page of each RUN (an id, the beginning of one, or last), verdicts first.

    \b
    localprobe report last
    localprobe report 21c086ef 9ab0 -o both.html --csv tables
    """
    from localprobe import report as reports
    from localprobe.experiments.merge import fresh
    from localprobe.store.runs import Runs

    saved = Runs(store)
    selected = [fresh(saved, saved.get(reference)) for reference in runs]
    if folder:
        say(f"{reports.write_csv(selected, folder)} tables -> {folder}", err=as_json)
    if as_json:
        say_json([_plain(run) for run in selected])
        return
    path = output or Path(f"report-{'-'.join(run.id for run in selected)}.html")
    reports.write(selected, path)
    say(f"{len(selected)} run{'s' if len(selected) > 1 else ''} -> {path}")


def _plain(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in ("id", "kind", "name", "created", "about", "result")}
