"""`localprobe fit`: a direction for every layer, from contrast pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.pairs import pair_options

if TYPE_CHECKING:
    from localprobe.vectors.vector import Vector


@click.command()
@click.argument("pairs")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The probe file to write.")
@click.option(
    "--method",
    type=click.Choice(["mean-difference", "logistic", "pca", "lda"]),
    default="mean-difference",
    show_default=True,
    help="How a direction is fitted.",
)
@click.option("--layers", help="Layers, as 8,12,16 or 8-24; all if not given.")
@click.option(
    "--pooling",
    type=click.Choice(["mean", "mean-without-first", "last", "answer"]),
    default="mean-without-first",
    show_default=True,
    help="mean is the paper's; answer reads each text as the answer to its pair's prompt, in a chat.",
)
@click.option("--concept", help="What the positive pole is; the file's name if not given.")
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 0.9),
    default=0.3,
    show_default=True,
    help="Share of each scenario's pairs kept out of the fit, for validate; 0 fits on all.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split and the choice of a layer.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@pair_options
@model_options
def fit(
    pairs: str,
    output: Path,
    method: str,
    layers: str | None,
    pooling: str,
    concept: str | None,
    test_fraction: float,
    seed: int,
    as_json: bool,
    fields: dict[str, str],
    chosen: Chosen,
) -> None:
    """Fit a probe on PAIRS (a JSONL file, or a set that ships, as empathy), its layer chosen inside the training pairs.

    \b
    localprobe fit empathy -o empathy.safetensors
    localprobe fit theirs.jsonl -o probe.safetensors --positive-field empathic_text --negative-field non_empathic_text
    """
    from localprobe.cli.layers import parse
    from localprobe.cli.pairs import captured, hashed, read
    from localprobe.contrast.pairs import split
    from localprobe.probing.fitting import fit_vector
    from localprobe.probing.study import pairs_in
    from localprobe.store.runs import Runs, measured_on
    from localprobe.vectors import files as vector_files

    asked = parse(layers)
    every = read(pairs, fields)
    train = split(every, test_fraction=test_fraction, seed=seed)[0] if test_fraction else every
    with chosen.load() as model:
        numbers = model.layers(asked)
        residuals = captured(model, pairs_in(train, pooling), numbers, pooling, "capturing")
        vector = fit_vector(
            concept or Path(pairs).stem,
            model.info,
            train,
            (residuals[: len(train)], residuals[len(train) :]),
            numbers,
            model.scale,
            method=method,
            pooling=pooling,
            seed=seed,
        )
        about = {"measured_on": measured_on(model.info), "hashes": hashed(pairs=pairs)}
    vector_files.save(vector, output)
    done = _done(vector, output, method, pooling, len(train), len(every))
    run = Runs().add("fit", f"{vector.concept} on {vector.origin.model} ({vector.origin.engine})", done, about=about)
    if as_json:
        click.echo(json.dumps({"run": run.id, **done}))
        return
    click.echo(
        f"{vector.concept}: {method} at {len(numbers)} layers of {vector.origin.model}, fitted on {len(train)} pairs, "
        f"{len(every) - len(train)} kept out; layer {vector.best} chosen inside the training pairs -> {output}\n"
        f"next: localprobe validate {output} {pairs}"
    )


def _done(vector: Vector, output: Path, method: str, pooling: str, train: int, pairs: int) -> dict[str, Any]:
    return {
        "output": str(output),
        "concept": vector.concept,
        "model": vector.origin.model,
        "method": method,
        "pooling": pooling,
        "train_pairs": train,
        "held_out_pairs": pairs - train,
        "layers": sorted(vector.directions),
        "best": vector.best,
    }
