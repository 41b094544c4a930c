"""`localprobe models`: the models, which are on this disk, and which run here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from localprobe.cli.output import say, say_json
from localprobe.progress import gigabytes

if TYPE_CHECKING:
    from rich.text import Text

    from localprobe.models.inventory import Item, Use


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object per set of weights.")
def models(as_json: bool) -> None:
    """List models: known by a short name, or found in the Hugging Face cache.

    Any other model works too: a Hugging Face id (org/name), a GGUF file of a repository (org/name:file.gguf), a local
    folder or a local .gguf file. Nothing is downloaded here.
    """
    from localprobe.models.inventory import items

    listed = items()
    if as_json:
        say_json([_as_object(item) for item in listed], indent=2)
    else:
        _print_table(listed)
        for item in listed:
            if item.problem:
                say(f"warning: {item.weights} is left out: {item.problem}", err=True)


def _as_object(item: Item) -> dict[str, object]:
    fields = asdict(item)
    fields["path"] = None if item.path is None else str(item.path)
    return {**fields, "cached": item.path is not None}


def _print_table(listed: list[Item]) -> None:
    from rich.table import Table

    from localprobe.cli.show import Console, styled
    from localprobe.models.fits import available

    table = Table(box=None, pad_edge=False)
    for heading in ("Model", "Engine"):
        table.add_column(heading, no_wrap=True, style="bold" if heading == "Model" else None)
    for heading in ("Memory", "Size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("On disk", no_wrap=True)
    table.add_column("Weights", overflow="fold")
    previous = ""
    for item in listed:
        for use in item.uses:
            first = use is item.uses[0]
            table.add_row(
                item.name if item.name not in {previous, item.weights} else "",
                styled((use.engine, "" if use.installed else "dim")),
                _memory(use),
                gigabytes(item.bytes) if first else "",
                ("yes" if item.path else "no") if first else "",
                item.weights if first else "",
            )
            previous = item.name
    console = Console()
    console.print(table)
    console.print(
        f"\nMemory: what an engine needs; ! marks more than the {gigabytes(available())} that is free, card means "
        "memory of the graphics card. Dim engines are not installed. Weights not on disk are downloaded at first use. "
        "--model also takes any org/name, org/name:file.gguf, folder or .gguf file.",
        style="dim",
    )


def _memory(use: Use) -> Text:
    """The memory that an engine needs, marked if that is more than is free."""
    from localprobe.cli.show import styled

    if use.needed is None:
        return styled("card")
    return styled(gigabytes(use.needed)) if use.fits else styled((f"{gigabytes(use.needed)}!", "red"))
