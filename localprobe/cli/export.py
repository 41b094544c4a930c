"""`localprobe export`: a vector for llama.cpp, repeng or numpy."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.vectors.vector import Direction, Vector


@click.command()
@click.argument("vector")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="File to write: .gguf, .safetensors or .npz."
)
@click.option("--layers", help="Layers, as 12, 8-24 or all; the best one for GGUF, else all, if not given.")
@click.option(
    "--dose", type=float, help="Scale the vector so that strength 1 is this dose at each layer. 0.25 is strong."
)
@click.option("--alpha", "--scale", "alpha", type=float, help="Multiply the vector by this, instead of a dose.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(
    vector: str, output: Path, layers: str | None, dose: float | None, alpha: float | None, as_json: bool
) -> None:
    """Write VECTOR in the format that the output's suffix names.

    \b
    .gguf         a control vector for llama-server, llama-cli and repeng
    .safetensors  localprobe's own
    .npz          arrays for numpy, without pickle

    Other programs add a control vector unscaled, at strength 1; a dose or an alpha sets what that does. Steering at all
    layers adds up, so a GGUF gets only the best layer unless you name others.

    \b
    localprobe export empathy.safetensors -o empathy.gguf --dose 0.2
    """
    from localprobe.cli.vector_show import read
    from localprobe.steering import knob
    from localprobe.vectors import files as vector_files
    from localprobe.vectors.arithmetic import at_dose, scale

    suffix = vector_files.suffix(output)
    if not (dose is None and alpha is None):
        knob.strength(alpha, dose)
    whole = read(vector)
    exported = _layers(whole, layers, suffix)
    if dose is not None:
        exported = at_dose(exported, dose)
    elif alpha is not None:
        exported = scale(exported, alpha)
    vector_files.export(exported, output)
    if as_json:
        say_json(_done(exported, output, suffix))
    else:
        say("\n".join(_lines(exported, output, suffix, others=layers is None and len(whole.directions) > 1)))


def _layers(vector: Vector, layers: str | None, suffix: str) -> Vector:
    from localprobe.cli.layers import parse
    from localprobe.vectors.arithmetic import only

    if layers is not None and layers != "all":
        vector = only(vector, parse(layers) or [])
    elif layers is None and suffix == ".gguf" and vector.best is not None:
        vector = only(vector, [vector.best])
    if suffix == ".gguf" and len(vector.directions) > 1:
        return replace(vector, best=None)  # a program that loads it uses all of its layers
    return vector


def _lines(vector: Vector, output: Path, suffix: str, *, others: bool) -> list[str]:
    """Lines for the user; `others` means that layers were left out although the user named none."""
    many = len(vector.directions) > 1
    lines = [f"{vector.concept} at layer{'s' if many else ''} {vector.span}{_doses(vector)} -> {output}"]
    if suffix == ".gguf" and many:
        lines.append(f"note: programs that load it steer at all {len(vector.directions)} layers at once, which adds up")
    elif suffix == ".gguf" and others:
        lines.append("note: only the best layer, because steering at all layers adds up; --layers names others")
    if suffix == ".gguf" and any(direction.probe is not None for direction in vector.directions.values()):
        lines.append("note: a GGUF control vector holds no probe: it steers, and does not say how to read the feature")
    return [*lines, f"use: {_use(vector, output, suffix)}"]


def _doses(vector: Vector) -> str:
    """The dose of strength 1, if the file records the scale of residuals."""
    if not all(direction.scale for direction in vector.directions.values()):
        return ""
    texts = [f"{dose:+.3f}" for dose in sorted(map(_dose, vector.directions.values()))]
    return f", dose {texts[0] if texts[0] == texts[-1] else f'{texts[0]} to {texts[-1]}'} at strength 1"


def _use(vector: Vector, output: Path, suffix: str) -> str:
    """The command or call that uses the file."""
    if suffix == ".gguf":
        return f"llama-server -m MODEL.gguf --control-vector {shlex.quote(str(output))}"
    if suffix == ".npz":
        return f"numpy.load({str(output)!r})['direction.{min(vector.directions)}']"
    return f"localprobe steer {shlex.quote(str(output))} PROMPT --alpha 1"


def _dose(direction: Direction) -> float:
    return direction.dose(1.0, direction.scale)


def _done(vector: Vector, output: Path, suffix: str) -> dict[str, Any]:
    return {
        "output": str(output),
        "format": suffix.removeprefix("."),
        "concept": vector.concept,
        "model": vector.origin.model,
        "layers": [
            {"layer": layer, "length": direction.length, "dose": _dose(direction) if direction.scale else None}
            for layer, direction in sorted(vector.directions.items())
        ],
        "use": _use(vector, output, suffix),
    }
