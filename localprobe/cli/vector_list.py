"""`localprobe vector list`: the vectors of the library."""

from __future__ import annotations

from typing import Any

import click

from localprobe.cli.output import say, say_json


@click.command("list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the vectors as JSON.")
def list_(name: str | None, as_json: bool) -> None:
    """List the vectors of the library, the newest first: those of NAME, or all.

    `localprobe fit` and `localprobe concept` keep vectors here, one per name and model. Wherever a command takes a
    vector, it also takes such a name.
    """
    from localprobe.vectors.library import Library

    library = Library()

    def skipped(why: str) -> None:
        say(f"warning: left out: {why}", err=True)

    entries = library.named(name, skipped) if name else library.entries(skipped)
    if as_json:
        say_json([_about(entry) for entry in entries])
        return
    if not entries:
        what = f"no vector is called {name!r} in" if name else "there are no vectors in"
        say(f"{what} {library.folder}: `localprobe fit empathy` fits one")
        return
    from rich.table import Table

    from localprobe.cli.show import console

    table = Table(box=None, header_style="bold")
    for column in ("name", "model", "method", "layer", "AUROC", "layers", "file"):
        table.add_column(column, justify="right" if column in ("layer", "AUROC") else "left", overflow="fold")
    for entry in entries:
        vector, about = entry.vector, _about(entry)
        auroc = "" if about["auroc"] is None else f"{about['auroc']:.2f}"
        best = "" if vector.best is None else str(vector.best)
        table.add_row(entry.name, vector.origin.model, vector.origin.method, best, auroc, vector.span, str(entry.path))
    console().print(table)


def _about(entry: Any) -> dict[str, Any]:
    vector = entry.vector
    measures = vector.directions[vector.best].measures if vector.best is not None else {}
    return {
        "name": entry.name,
        "concept": vector.concept,
        "model": vector.origin.model,
        "method": vector.origin.method,
        "layer": vector.best,
        "auroc": measures.get("auroc"),
        "layers": sorted(vector.directions),
        "file": str(entry.path),
    }
