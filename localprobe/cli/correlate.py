"""`localprobe correlate`: do texts rated higher score higher?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, model_options

if TYPE_CHECKING:
    from localprobe.contrast.rated import Rated


@click.command()
@click.argument("probes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PROBE...")
@click.option(
    "--ratings", default="completions", show_default=True, help="JSONL with text and score a line, or a set that ships."
)
@click.option("--text-field", default="text", show_default=True, help="Field that holds the text.")
@click.option("--score-field", default="score", show_default=True, help="Field that holds the rating.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@model_options
def correlate(
    probes: tuple[Path, ...],
    ratings: str,
    text_field: str,
    score_field: str,
    seed: int,
    as_json: bool,
    chosen: Chosen,
) -> None:
    """Set the scores of each PROBE against rated texts, each with its own model, and show every one.

    \b
    localprobe correlate empathy.safetensors
    localprobe correlate phi3.safetensors qwen.safetensors --ratings rated.jsonl
    """
    from localprobe.cli.pairs import hashed, path_of
    from localprobe.contrast.rated import read_rated
    from localprobe.store.runs import Runs

    texts = read_rated(path_of(ratings)[0], text_field=text_field, score_field=score_field)
    models = [_one(probe, texts, chosen, seed) for probe in probes]
    result = {"ratings": ratings, "models": models}
    about = {"hashes": hashed(ratings=ratings)}
    run = Runs().add("correlate", ", ".join(each["name"] for each in models), result, about=about)
    if as_json:
        click.echo(json.dumps({"run": run.id, **result}))
        return
    _show(models)
    click.echo(f"run {run.id}: localprobe report {run.id}", err=True)


def _one(probe: Path, texts: list[Rated], chosen: Chosen, seed: int) -> dict[str, Any]:
    from localprobe.cli.pairs import captured
    from localprobe.probing.behaviour import behaviour
    from localprobe.probing.fitting import probe_of
    from localprobe.store.runs import measured_on
    from localprobe.vectors import files as vector_files

    vector = vector_files.load(probe)
    layers = sorted(vector.directions)
    probe_of(vector, layers)
    pooling = "mean" if vector.origin.pooling == "answer" else vector.origin.pooling
    with chosen.of(vector).load() as model:
        for warning in vector.check_compatible(model.info):
            click.echo(f"warning: {warning}", err=True)
        residuals = captured(model, [text.text for text in texts], layers, pooling, "capturing")
        info = model.info
    found = behaviour(vector, texts, residuals, seed=seed)
    name = f"{vector.concept} on {info.model} ({info.engine})"
    return {"name": name, "probe": str(probe), "measured_on": measured_on(info), "behaviour": found.as_json()}


def _show(models: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from localprobe.cli.show import console as out

    table = Table(box=None, header_style="bold")
    for name in ("probe", "layer", "n", "Pearson r", "p", "Spearman rho", "p", "accuracy", "F1", "TP/FP/TN/FN"):
        table.add_column(name, justify="left" if name == "probe" else "right")
    for each in models:
        found = each["behaviour"]
        r, rho, binary = found["pearson"], found["spearman"], found["binary"]
        table.add_row(
            each["name"],
            str(found["layer"]),
            str(found["n"]),
            f"{r['value']:.2f} [{r['interval'][0]:.2f}, {r['interval'][1]:.2f}]",
            f"{r['p']:.3f}",
            f"{rho['value']:.2f} [{rho['interval'][0]:.2f}, {rho['interval'][1]:.2f}]",
            f"{rho['p']:.3f}",
            f"{binary['accuracy']:.0%} [{binary['accuracy_interval'][0]:.0%}, {binary['accuracy_interval'][1]:.0%}]",
            f"{binary['f1']:.2f} [{binary['f1_interval'][0]:.2f}, {binary['f1_interval'][1]:.2f}]",
            "/".join(str(binary[f"{what}_{kind}"]) for what, kind in _CELLS),
        )
    out().print(table)


_CELLS = (("true", "positive"), ("false", "positive"), ("true", "negative"), ("false", "negative"))
