"""`localprobe vector show` and `cosines`: the content of a vector file, what it writes, and the cosines of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, loaded_with, model_options
from localprobe.cli.output import say, say_json
from localprobe.engine import LoadOptions
from localprobe.errors import UsageError

if TYPE_CHECKING:
    from localprobe.lens.writing import TokenEffect, Written
    from localprobe.vectors.vector import Vector


def read(reference: str) -> Vector:
    """The vector of a file or a name. Warns of what was left out of it, and if its file does not record after which
    block it was measured."""
    from localprobe.vectors.library import Library

    vector = told(Library().vector(reference))
    if not vector.origin.version:
        say(
            f"warning: {reference} does not say after which block its directions were measured; read as llama.cpp "
            "applies it (`localprobe vector import` settles that)",
            err=True,
        )
    return vector


def told(vector: Vector) -> Vector:
    """The vector without its notices, which are printed as warnings."""
    for notice in vector.notices:
        say(f"warning: {notice}", err=True)
    return replace(vector, notices=())


def pair(a: str, b: str) -> tuple[Vector, Vector]:
    """Two vectors. Warns if they are not of the same model."""
    from localprobe.vectors.arithmetic import check

    one, other = read(a), read(b)
    for warning in check(one, other):
        say(f"warning: {warning}", err=True)
    return one, other


@click.command()
@click.argument("file")
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=8,
    help="Load the model, and show the tokens whose logits each layer's direction raises and lowers most; 8 if you "
    "give no number.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything except the directions themselves as JSON.")
@model_options
def show(file: str, tokens: int | None, as_json: bool, chosen: Chosen) -> None:
    """Show the content of FILE: concept, origin, layers, lengths.

    \b
    localprobe vector show empathy.safetensors --tokens
    """
    vector, found = _written(file, tokens, chosen) if tokens else (_unloaded(file, chosen), {})
    if as_json:
        say_json(_about(vector, found))
        return
    _print(vector)
    if found:
        _print_written(found, vector.best)


def _unloaded(file: str, chosen: Chosen) -> Vector:
    if chosen.named or chosen.engine or chosen.options != LoadOptions():
        raise UsageError("a model is loaded for --tokens only: add it, or leave out the options of the model")
    return read(file)


def _written(file: str, count: int, chosen: Chosen) -> tuple[Vector, dict[int, Written]]:
    """The vector as its model can use it, and what it writes there."""
    from localprobe.lens.writing import written

    with loaded_with(chosen, file) as (model, vector):
        used = vector.within(model.info.model, model.info.layers, model.info.width)
        return replace(used, notices=()), written(model.engine, used, count)


def _about(vector: Vector, found: Mapping[int, Written]) -> dict[str, Any]:
    return {
        "concept": vector.concept,
        "best": vector.best,
        "origin": asdict(vector.origin),
        "layers": [
            {
                "layer": layer,
                "length": direction.length,
                "norm": direction.norm,
                "threshold": direction.threshold,
                "scale": direction.scale,
                "measures": dict(direction.measures),
                **({} if direction.probe is None else {"probe_cosine": direction.probe_cosine}),
                **(asdict(found[layer]) if found else {}),
            }
            for layer, direction in sorted(vector.directions.items())
        ],
    }


def _print(vector: Vector) -> None:
    from localprobe.cli.show import Console

    console = Console(highlight=False)
    console.print(f"{vector.concept}: {_at(vector)}", style="bold", soft_wrap=True)
    for name, value in _facts(vector):
        console.print(f"  {name:<12} {value}", soft_wrap=True)
    console.print(_table(vector))


def _at(vector: Vector) -> str:
    if len(vector.directions) == 1:
        return f"layer {vector.span}"
    return f"layers {vector.span}, " + ("all together" if vector.best is None else f"{vector.best} to use")


def _facts(vector: Vector) -> list[tuple[str, str]]:
    """The origin of a vector, as far as its file records it."""
    origin = vector.origin
    shape = f"{origin.layers} layers, width {origin.width}" if origin.layers else f"width {origin.width}"
    facts = [
        ("model", ", ".join(filter(None, [origin.model or "not named", origin.architecture, shape]))),
        ("weights", origin.weights),
        ("engine", origin.engine),
        ("method", origin.method),
        ("pooling", origin.pooling),
        ("BOS", "" if origin.bos is None else "yes" if origin.bos else "no"),
        ("template", origin.template),
        ("fitted on", f"{len(origin.trained_on)} pairs" if origin.trained_on else ""),
        ("made by", f"localprobe {origin.version}" if origin.version else "another program"),
    ]
    return [(name, value) for name, value in facts if value]


def _table(vector: Vector) -> Any:
    """One row per layer. Columns that no layer has are left out."""
    from rich.table import Table

    directions = sorted(vector.directions.items())
    measures = [name for name in ("auroc", "accuracy") if all(name in d.measures for _, d in directions)]
    scaled = any(direction.scale for _, direction in directions)
    probed = any(direction.probe is not None for _, direction in directions)
    extra = [*(["cosine with its probe"] if probed else []), *(["scale", "alpha of dose 0.1"] if scaled else [])]
    table = Table(box=None, header_style="bold")
    for name in ("layer", "|v|", "norm", "threshold", *extra, *measures):
        table.add_column(name, justify="right")
    for layer, direction in directions:
        cells = [f"{direction.length:.3f}", f"{direction.norm:.3f}", f"{direction.threshold:.3f}"]
        if probed:
            cells.append("" if direction.probe is None else f"{direction.probe_cosine:+.3f}")
        if scaled:
            alpha = direction.alpha(0.1, direction.scale)
            cells += [f"{direction.scale:.2f}", f"{alpha:.2f}"] if direction.scale else ["", ""]
        cells += [f"{direction.measures[name]:.3f}" for name in measures]
        table.add_row(str(layer), *cells, style="bold green" if layer == vector.best else None)
    return table


def _print_written(found: Mapping[int, Written], best: int | None) -> None:
    from rich.table import Table

    from localprobe.cli.show import console
    from localprobe.lens.writing import UNIT

    table = Table(box=None, header_style="bold")
    table.add_column("layer", justify="right")
    table.add_column("raises", ratio=1)
    table.add_column("lowers", ratio=1)
    for layer, words in found.items():
        sides = (_listed(words.raises), _listed(words.lowers))
        table.add_row(str(layer), *sides, style="bold green" if layer == best else None)
    out = console()
    out.print()
    out.print(table)
    out.print(f"Numbers: {UNIT}.", style="dim")


def _listed(tokens: Iterable[TokenEffect]) -> str:
    """Tokens and numbers in one text; a token stays beside its number when the line breaks."""
    from localprobe.lens.tokens import shown

    return "  ".join(f"{shown(token.text)}\u00a0{token.logits:+.1f}" for token in tokens)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="Print the cosines as JSON.")
def cosines(a: str, b: str, as_json: bool) -> None:
    """Show the cosine of A and B at every layer that both have."""
    from rich.table import Table

    from localprobe.cli.show import Console
    from localprobe.vectors import arithmetic

    one, other = pair(a, b)
    cosine_of = arithmetic.cosines(one, other)
    if as_json:
        layers = [{"layer": layer, "cosine": cosine} for layer, cosine in cosine_of.items()]
        say_json({"a": one.concept, "b": other.concept, "layers": layers})
        return
    console = Console(highlight=False)
    console.print(f"{one.concept}, {other.concept}", style="bold", soft_wrap=True)
    table = Table(box=None, header_style="bold")
    table.add_column("layer", justify="right")
    table.add_column("cosine", justify="right")
    for layer, cosine in cosine_of.items():
        table.add_row(str(layer), f"{cosine:+.3f}")
    console.print(table)
