"""`localprobe vector import`: convert a control vector, a feature of a sparse autoencoder, or our own npz or GGUF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.output import say, say_json
from localprobe.errors import UsageError

if TYPE_CHECKING:
    from localprobe.vectors.vector import Vector

PROGRAMS = ("repeng", "cvector-generator")


@click.command("import")
@click.argument("file", metavar="FILE_OR_FOLDER", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write.")
@click.option(
    "--from",
    "program",
    type=click.Choice(PROGRAMS),
    help="The program that wrote the GGUF: repeng if direction.b was measured after block b, cvector-generator if "
    "after block b - 1.",
)
@click.option("--feature", type=click.IntRange(min=0), help="The feature of a sparse autoencoder to import.")
@click.option("--layer", type=click.IntRange(min=0), help="Layer of a sparse autoencoder whose files do not say it.")
@click.option("--concept", help="Concept of the vector; the file's own if not given.")
@click.option("--model-name", help="The model that it was made for, if the file does not name it.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def import_(
    file: Path,
    output: Path,
    program: str | None,
    feature: int | None,
    layer: int | None,
    concept: str | None,
    model_name: str | None,
    as_json: bool,
) -> None:
    """Convert a GGUF control vector, an npz, or a feature of a sparse autoencoder to localprobe's own format.

    A GGUF does not record after which block each direction was measured, and programs differ, so name the program.
    llama.cpp always adds direction.b after block b. cvector-generator measures it after block b - 1: its directions are
    moved to that layer, one below where llama.cpp would add them.

    \b
    localprobe vector import happy.gguf --from repeng -o happy.safetensors --model-name qwen2.5-7b

    A sparse autoencoder of the residual stream is a folder of SAELens (cfg.json) or Gemma Scope, or one safetensors
    file or npz with --layer. A feature's row of the decoder steers; its column of the encoder is the probe that reads
    it, and the threshold is the score above which it is active.

    \b
    localprobe vector import blocks.8.hook_resid_post --feature 123 -o f123.safetensors
    localprobe vector import params.npz --feature 123 --layer 20 --model-name google/gemma-2-2b -o f123.safetensors
    """
    from localprobe.cli.vector_show import told
    from localprobe.vectors import files as vector_files

    vector = told(_read(file, program, feature, layer))
    origin = replace(vector.origin, model=model_name) if model_name else vector.origin
    vector = replace(vector, concept=concept or vector.concept, origin=origin)
    vector_files.save(vector, output)
    if as_json:
        summary: dict[str, object] = {
            "output": str(output),
            "concept": vector.concept,
            "model": origin.model,
            "best": vector.best,
        }
        if feature is not None:
            summary |= {"threshold": next(iter(vector.directions.values())).threshold}
        say_json({**summary, "layers": sorted(vector.directions)})
        return
    say(
        f"{vector.concept} at layer{'s' if len(vector.directions) > 1 else ''} {vector.span}, "
        f"width {origin.width}, of {origin.model or 'a model that is not named'} -> {output}"
    )
    if feature is not None and not origin.model:
        say("note: --model-name records which model it is for, so that using it on another one is told", err=True)


def _read(file: Path, program: str | None, feature: int | None, layer: int | None) -> Vector:
    from localprobe.vectors import files as vector_files
    from localprobe.vectors import sae
    from localprobe.vectors.control_vector import measured

    if feature is None:
        if layer is not None:
            raise UsageError("`layer` is the layer of a sparse autoencoder: name a `feature` of it too")
        if file.is_dir():
            raise UsageError(f"{file} is a folder: name a `feature` of the sparse autoencoder in it, or a vector file")
        return measured(vector_files.load(file), program)
    if program is not None:
        raise UsageError("`program` wrote a control vector; a sparse autoencoder's `feature` needs none")
    return sae.feature(file, feature, layer)
