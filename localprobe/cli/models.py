"""`localprobe models`: which models there are, what is on this disk, and what runs here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from localprobe.inventory import Item


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object for each of a model's weights.")
def models(as_json: bool) -> None:
    """List models: known by a short name, or found in the Hugging Face cache.

    Any other model works too: a Hugging Face id (org/name), a GGUF file of a repository (org/name:file.gguf), a local
    folder or a local .gguf file. Nothing is downloaded here.
    """
    from localprobe.inventory import items

    found = items()
    if as_json:
        click.echo(json.dumps([_as_object(item) for item in found], indent=2))
    else:
        _print_table(found)


def _as_object(item: Item) -> dict[str, object]:
    fields = asdict(item)
    fields["path"] = None if item.path is None else str(item.path)
    return {**fields, "cached": item.path is not None}


def _print_table(found: list[Item]) -> None:
    from rich.console import Console
    from rich.table import Table

    from localprobe.fits import available

    table = Table(box=None, pad_edge=False)
    table.add_column("Model", style="bold", overflow="fold")
    table.add_column("Weights", overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("On disk", no_wrap=True)
    table.add_column("Engine: memory it takes", overflow="fold")
    previous = ""
    for item in found:
        table.add_row(
            "" if item.name == previous else item.name,
            "the cache of Hugging Face" if item.weights == item.name else item.weights,
            _gigabytes(item.bytes),
            "yes" if item.path else "no",
            "\n".join(_engines(item)) or "no engine",
        )
        previous = item.name
    console = Console()
    console.print(table)
    console.print(
        f"\n{_gigabytes(available())} of memory is free. Also: --model org/name, org/name:file.gguf, a folder or a "
        ".gguf file; what is not on disk is fetched when it is first used.",
        style="dim",
    )


def _engines(item: Item) -> list[str]:
    """A line for each engine that can load an item."""
    lines = []
    for use in item.uses:
        memory = "on the graphics card" if use.needed is None else _gigabytes(use.needed)
        verdict = "" if use.fits in (None, True) else " [red]does not fit[/red]"
        missing = "" if use.installed else " [dim](not installed)[/dim]"
        lines.append(f"{use.engine}: {memory}{verdict}{missing}")
    return lines


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count < 1e10 else f"{count / 1e9:.1f} GB"
