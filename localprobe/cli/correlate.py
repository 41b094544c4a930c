"""`localprobe correlate`: do texts rated higher score higher?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.contrast.rated import Rated
    from localprobe.probing.detection import RatedProbe, Ratings


@click.command()
@click.argument("probes", nargs=-1, required=True, metavar="PROBE...")
@click.option(
    "--ratings", default="completions", show_default=True, help="A file of texts with scores, or a set that ships."
)
@click.option("--text-field", default="text", show_default=True, help="Field that holds the text.")
@click.option("--score-field", default="score", show_default=True, help="Field that holds the rating.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@model_options
def correlate(
    probes: tuple[str, ...],
    ratings: str,
    text_field: str,
    score_field: str,
    seed: int,
    as_json: bool,
    chosen: Chosen,
) -> None:
    """Correlate the scores of each PROBE with the ratings of texts, each probe on its own model.

    \b
    localprobe correlate empathy.safetensors
    localprobe correlate phi3.safetensors qwen.safetensors --ratings rated.jsonl
    """
    from localprobe.cli.pairs import hashed
    from localprobe.contrast.rated import RATED_SETS, read_rated
    from localprobe.probing.detection import Ratings
    from localprobe.store.json_values import to_json
    from localprobe.store.runs import Runs

    texts = read_rated(RATED_SETS.resolve(ratings), text_field=text_field, score_field=score_field)
    result = Ratings(ratings, tuple(_rated(probe, texts, chosen, seed) for probe in probes))
    about = {"hashes": hashed(ratings=ratings)}
    run = Runs().add("correlate", ", ".join(model.name for model in result.models), to_json(result), about=about)
    if as_json:
        say_json({"run": run.id, **to_json(result)})
        return
    _show(result)
    say(f"run {run.id}: localprobe report {run.id}", err=True)


def _rated(probe: str, texts: list[Rated], chosen: Chosen, seed: int) -> RatedProbe:
    from localprobe.cli import show
    from localprobe.cli.options import loaded_with
    from localprobe.probing.detection import RatedProbe, rated_behaviour
    from localprobe.store.identity import ModelIdentity

    with loaded_with(chosen, probe) as (model, vector), show.capturing() as capturing:
        behaviour = rated_behaviour(model, vector, texts, seed=seed, capturing=capturing)
        identity = ModelIdentity.of(model.info)
    name = f"{vector.concept} on {identity.model} ({identity.engine})"
    return RatedProbe(name, probe, identity, behaviour)


def _show(ratings: Ratings) -> None:
    from rich.table import Table

    from localprobe.cli.show import console as out
    from localprobe.stats.intervals import bracketed

    table = Table(box=None, header_style="bold")
    for name in ("probe", "layer", "n", "Pearson r", "p", "Spearman rho", "p", "accuracy", "F1", "TP/FP/TN/FN"):
        table.add_column(name, justify="left" if name == "probe" else "right")
    for model in ratings.models:
        rated = model.behaviour
        r, rho, binary = rated.pearson, rated.spearman, rated.binary
        table.add_row(
            model.name,
            str(rated.layer),
            str(rated.n),
            bracketed(r.value, r.interval),
            f"{r.p:.3f}",
            bracketed(rho.value, rho.interval),
            f"{rho.p:.3f}",
            bracketed(binary.accuracy, binary.accuracy_interval, ".0%"),
            bracketed(binary.f1, binary.f1_interval),
            f"{binary.true_positive}/{binary.false_positive}/{binary.true_negative}/{binary.false_negative}",
        )
    out().print(table)
