"""`localprobe vector import`: another program's control vector, or our own in another format, as a native file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

PROGRAMS = ("repeng", "cvector-generator")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write.")
@click.option(
    "--from",
    "program",
    type=click.Choice(PROGRAMS),
    help="What wrote a GGUF that is not ours: repeng if direction.b was measured after block b, cvector-generator if "
    "after block b - 1.",
)
@click.option("--concept", help="What to call it; the file's own name for it if not given.")
@click.option("--model-name", help="The model that it was made for, if the file does not name it.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def import_(
    file: Path, output: Path, program: str | None, concept: str | None, model_name: str | None, as_json: bool
) -> None:
    """Make a native file of a GGUF control vector, or of an npz.

    A GGUF of another program does not say after which block each direction was measured, and programs differ: say what
    wrote it. llama.cpp adds direction.b after block b whatever wrote it; so what cvector-generator measured after
    block b - 1 is moved there, one layer below where llama.cpp would add it.

    \b
    localprobe vector import happy.gguf --from repeng -o happy.safetensors --model-name qwen2.5-7b
    """
    from localprobe.vectors import files as vector_files
    from localprobe.vectors.control_vector import measured

    vector = measured(vector_files.load(file), program)
    origin = replace(vector.origin, model=model_name) if model_name else vector.origin
    vector = replace(vector, concept=concept or vector.concept, origin=origin)
    vector_files.save(vector, output)
    if as_json:
        done = {"output": str(output), "concept": vector.concept, "model": origin.model, "best": vector.best}
        click.echo(json.dumps({**done, "layers": sorted(vector.directions)}))
        return
    click.echo(
        f"{vector.concept} at layer{'s' if len(vector.directions) > 1 else ''} {vector.span}, "
        f"width {origin.width}, of {origin.model or 'a model that is not named'} -> {output}"
    )
