"""`localprobe vector import`: convert a control vector of another program, or our own in another format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from localprobe.cli.output import say, say_json

PROGRAMS = ("repeng", "cvector-generator")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write.")
@click.option(
    "--from",
    "program",
    type=click.Choice(PROGRAMS),
    help="The program that wrote the GGUF: repeng if direction.b was measured after block b, cvector-generator if "
    "after block b - 1.",
)
@click.option("--concept", help="Concept of the vector; the file's own if not given.")
@click.option("--model-name", help="The model that it was made for, if the file does not name it.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def import_(
    file: Path, output: Path, program: str | None, concept: str | None, model_name: str | None, as_json: bool
) -> None:
    """Convert a GGUF control vector, or an npz, to localprobe's own format.

    A GGUF does not record after which block each direction was measured, and programs differ, so name the program.
    llama.cpp always adds direction.b after block b. cvector-generator measures it after block b - 1: its directions are
    moved to that layer, one below where llama.cpp would add them.

    \b
    localprobe vector import happy.gguf --from repeng -o happy.safetensors --model-name qwen2.5-7b
    """
    from localprobe.cli.vector_show import told
    from localprobe.vectors import files as vector_files
    from localprobe.vectors.control_vector import measured

    vector = measured(told(vector_files.load(file)), program)
    origin = replace(vector.origin, model=model_name) if model_name else vector.origin
    vector = replace(vector, concept=concept or vector.concept, origin=origin)
    vector_files.save(vector, output)
    if as_json:
        summary = {"output": str(output), "concept": vector.concept, "model": origin.model, "best": vector.best}
        say_json({**summary, "layers": sorted(vector.directions)})
        return
    say(
        f"{vector.concept} at layer{'s' if len(vector.directions) > 1 else ''} {vector.span}, "
        f"width {origin.width}, of {origin.model or 'a model that is not named'} -> {output}"
    )
