"""`localprobe vector`: inspecting and importing vectors, and arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.output import say, say_json
from localprobe.cli.vector_import import import_
from localprobe.cli.vector_list import list_
from localprobe.cli.vector_show import cosines, pair, read, show, told

if TYPE_CHECKING:
    from localprobe.vectors.vector import Vector


@click.group()
def vector() -> None:
    """Inspect vectors, import them, add, subtract, scale and orthogonalise them."""


for _command in (show, cosines, import_, list_):
    vector.add_command(_command)


def _writes(command: Callable[..., Vector]) -> Callable[..., None]:
    """Make a command of a function that returns a vector: it writes the vector, with options for the file and
    concept."""

    @wraps(command)
    def written(*args: Any, output: Path, concept: str | None, as_json: bool, **kwargs: Any) -> None:
        from localprobe.errors import UsageError
        from localprobe.vectors import files as vector_files

        if output.suffix.lower() in (".gguf", ".npz"):
            raise UsageError(f"{output}: write a .safetensors file here; `localprobe export` converts it to others")
        result = told(command(*args, **kwargs))
        result = replace(result, concept=concept or result.concept)
        vector_files.save(result, output)
        _print(result, output, as_json)

    for option in reversed(_OPTIONS):
        written = option(written)
    return written


def _print(vector: Vector, output: Path, as_json: bool) -> None:
    lengths = [direction.length for _, direction in sorted(vector.directions.items())]
    if as_json:
        summary = {"output": str(output), "concept": vector.concept, "model": vector.origin.model, "best": vector.best}
        say_json({**summary, "layers": sorted(vector.directions), "lengths": lengths})
        return
    one = len(lengths) == 1
    at = f"layer {vector.span}" if one else f"layers {vector.span}"
    long = f"{lengths[0]:.3f}" if one else f"{min(lengths):.3f} to {max(lengths):.3f}"
    say(f"{vector.concept} at {at}, of length {long} -> {output}")


_OPTIONS = [
    click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The vector file to write."),
    click.option("--concept", help="Concept of the result; a formula if not given."),
    click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
]


@vector.command(context_settings={"ignore_unknown_options": True})
@click.argument("a")
@click.argument("factor", type=float)
@_writes
def scale(a: str, factor: float) -> Vector:
    """A times FACTOR, which may be negative."""
    from localprobe.vectors import arithmetic

    return arithmetic.scale(read(a), factor)


def _of_two(name: str, about: str) -> None:
    """Add the command `name`, which writes what `arithmetic` makes of two vectors."""

    @vector.command(name, help=about)
    @click.argument("a")
    @click.argument("b")
    @_writes
    def command(a: str, b: str) -> Vector:
        from localprobe.vectors import arithmetic

        result: Vector = getattr(arithmetic, name)(*pair(a, b))
        return result


_of_two("add", "A + B, at the layers that both have.")
_of_two("subtract", "A - B, at the layers that both have.")
_of_two("orthogonalise", "A without its part along B, layer by layer.")
