"""`localprobe lens`: what the model would say next after every layer, beside a probe's scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, loaded_with, loading_options
from localprobe.cli.output import say, say_json
from localprobe.errors import UsageError

if TYPE_CHECKING:
    from localprobe.lens.result import Lens
    from localprobe.model import Model
    from localprobe.vectors.vector import Vector

_ACROSS = 7
"""Layers that a terminal has room for."""


@click.command()
@click.argument("model")
@click.argument("text")
@click.option("--vector", "-v", help="Also score every token by this vector: a file or a name.")
@click.option("--layer", "-l", type=int, help="Layer to score at; the vector's own choice if not given.")
@click.option("--layers", help="Layers to read, as 8,12,16 or 8-24 or -1; some in the terminal, all otherwise.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Next tokens per layer to keep.")
@click.option("--limit", type=click.IntRange(min=1), help="The most tokens of the text to read; 128 if not given.")
@click.option("--chat", is_flag=True, help="Read TEXT as a user's message in the chat template.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write all of it as a page of HTML.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@loading_options
def lens(
    text: str,
    vector: str | None,
    layer: int | None,
    layers: str | None,
    top: int,
    limit: int | None,
    chat: bool,
    output: Path | None,
    as_json: bool,
    chosen: Chosen,
) -> None:
    """Show the most likely next token after each layer of MODEL and each token of TEXT (logit lens).

    The residual after a layer goes straight through the model's final norm and head. -o writes a page where each cell
    lists the --top tokens.

    \b
    localprobe lens smollm2-135m "The capital of France is" --vector empathy -o lens.html
    """
    from localprobe.cli.layers import parse
    from localprobe.cli.show import counting

    if layer is not None and vector is None:
        raise UsageError("`layer` is where a `vector` scores: give one, or name the `layers` to read")
    requested = parse(layers)
    with _loaded(chosen, vector) as (model, scored):
        numbers = model.layers(requested) if requested or output or as_json else _spread(model.info.layers)
        with counting("reading layers", len(numbers), "layers") as count:
            found = model.lens(
                model.ids(text) if chat else text,
                vector=scored,
                layer=layer,
                layers=numbers,
                top=top,
                limit=limit,
                progress=lambda done, total: count.reach(done, total, 0, 0.0),
            )
    if output:
        _write(found, output)
    if as_json:
        say_json(found.to_json())
    elif not output:
        _print(found, every=requested is not None)


@contextmanager
def _loaded(chosen: Chosen, vector: str | None) -> Iterator[tuple[Model, Vector | None]]:
    """The model, and the vector if one is named."""
    if vector is None:
        with chosen.load() as model:
            yield model, None
    else:
        with loaded_with(chosen, vector) as loaded:
            yield loaded


def _spread(layers: int) -> list[int]:
    """Some layers from the first to the last."""
    steps = max(1, min(_ACROSS, layers) - 1)
    return sorted({round(i * (layers - 1) / steps) for i in range(steps + 1)})


def _write(found: Lens, output: Path) -> None:
    from localprobe.store.files import write_whole

    write_whole(output, found.page().encode())
    say(f"{len(found.ids)} tokens, {len(found.layers)} layers -> {output}", err=True)


def _print(found: Lens, *, every: bool) -> None:
    """One row per token: its score, and the most likely next token after each layer with its probability."""
    import numpy as np
    from rich.table import Table

    from localprobe.cli.show import console
    from localprobe.lens.tokens import shown
    from localprobe.terminal_text import one_line

    table = Table(box=None, header_style="bold")
    table.add_column("token", style="bold")
    if found.scores is not None:
        table.add_column(f"{one_line(found.scores.concept)}, layer {found.scores.layer}", justify="right")
    for layer in found.layers:
        table.add_column(f"layer {layer}")
    for i, token in enumerate(found.tokens):
        score = [] if found.scores is None else [f"{found.scores.values[i]:+.2f}"]
        best, likely = found.top[:, i, 0], np.exp(found.logprobs[:, i, 0])
        cells = [f"{shown(found.texts[int(t)])}\u00a0{p:.0%}" for t, p in zip(best, likely, strict=True)]
        table.add_row(shown(token), *score, *cells)
    out = console()
    out.print(table)
    note = "The most likely next token if the model ended after that layer, and its probability; \u2423 is a space."
    more = "" if every else " --layers names other layers, and -o writes a page of all."
    out.print(note + more, style="dim")
