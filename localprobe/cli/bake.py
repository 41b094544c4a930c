"""`localprobe bake`: a direction removed from the weights of a model, as a folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.baking import Baked


@click.command()
@click.argument("model")
@click.argument("vectors", nargs=-1, required=True, metavar="VECTOR...")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder to write: a new or an empty one."
)
@click.option("--share", type=float, default=1.0, show_default=True, help="Part of the direction to remove, up to 1.")
@click.option("--layer", type=int, help="Layer whose direction is removed; the vector's best one if not given.")
@click.option("--no-check", is_flag=True, help="Do not load the result to see that nothing is left.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def bake(
    model: str, vectors: tuple[str, ...], output: Path, share: float, layer: int | None, no_check: bool, as_json: bool
) -> None:
    """Remove VECTOR from the weights of MODEL: a folder that transformers and mlx-lm load, without localprobe.

    The direction of one layer is projected out of all that writes to the residual stream: embedding, attention and MLP
    outputs. Several vectors are removed as the subspace that they span. MODEL is a name, a Hugging Face folder or a
    GGUF file, whose weights are converted; quantised folders are refused.

    \b
    localprobe bake smollm2-135m empathy -o smollm2-without-empathy
    localprobe chat --plain ./smollm2-without-empathy
    """
    from localprobe.baking import bake as bake_model
    from localprobe.cli.show import loading

    with loading(model) as progress:
        baked = bake_model(
            model,
            vectors,
            output,
            layer=layer,
            share=share,
            check=not no_check,
            notify=lambda line: say(f"warning: {line}", err=True),
            progress=progress,
        )
    if as_json:
        say_json(_done(baked))
    else:
        say("\n".join(_lines(baked, output)))


def _lines(baked: Baked, output: Path) -> list[str]:
    from localprobe.baking import note

    names = ", ".join(f"{removed.concept} (layer {removed.layer})" for removed in baked.removed)
    whole = "" if baked.share == 1 else f"{baked.share:.0%} of "
    head = "the unembedding, now a tensor of its own" if baked.untied else "the unembedding"
    lines = [
        f"{whole}{names} removed from {baked.model} -> {output}",
        f"changed: {note.changes(baked)}",
        f"not changed: {head}, norms, and what reads the residual stream",
    ]
    if baked.left_out:
        lines.append(f"not copied: {', '.join(baked.left_out)}")
    return [
        *lines,
        f"{'checked' if baked.check else 'NOT CHECKED'}: {note.checked(baked).removeprefix('no: ')}",
        f"use: localprobe chat {shlex.quote(str(baked.output))}",
    ]


def _done(baked: Baked) -> dict[str, Any]:
    from localprobe.store.json_values import to_json

    values: dict[str, Any] = to_json({name: getattr(baked, name) for name in baked.__slots__ if name != "output"})
    return {"output": str(baked.output), **values}
