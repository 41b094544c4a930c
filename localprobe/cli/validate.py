"""`localprobe validate`: what a probe shows, and what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.pairs import pair_options

if TYPE_CHECKING:
    from localprobe.contrast.pairs import Pair
    from localprobe.engine import FloatArray
    from localprobe.model import Model
    from localprobe.probing.examples import Examples
    from localprobe.probing.lexical import Ablated
    from localprobe.probing.validation import Validation
    from localprobe.vectors import Vector


@click.command()
@click.argument("probe", type=click.Path(path_type=Path))
@click.argument("pairs")
@click.option("--keywords", type=click.Path(path_type=Path), help="Words and synonyms for the lexical ablation.")
@click.option("--permutations", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--resamples", type=click.IntRange(min=100), default=2000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@pair_options
@model_options
def validate(
    probe: Path,
    pairs: str,
    keywords: Path | None,
    permutations: int,
    resamples: int,
    seed: int,
    as_json: bool,
    fields: dict[str, str],
    chosen: Chosen,
) -> None:
    """Measure PROBE on the pairs of PAIRS that it was not fitted on, and ask what else could explain the figures.

    \b
    localprobe validate empathy.safetensors empathy
    """
    from threadpoolctl import threadpool_limits

    from localprobe import vectors
    from localprobe.cli.pairs import read
    from localprobe.probing.fitting import candidates, probe_of
    from localprobe.probing.validation import Effort
    from localprobe.probing.validation import validate as measure

    vector = vectors.load(probe)
    layers = sorted(vector.directions)
    fitted = probe_of(vector, layers)
    train, test = _split(vector, read(pairs, fields), pairs)
    with chosen.load() as model:
        for warning in vector.fit_to(model.info):
            click.echo(f"warning: {warning}", err=True)
        learnt = _examples(model, vector, train, layers, "capturing the training pairs") if train else None
        unseen = _examples(model, vector, test, layers, "capturing the test pairs")
        ablated = _ablated(model, vector, test, layers, keywords)
        neutral = _neutral(model, vector, layers)
        model_layers = model.info.layers
    with threadpool_limits(limits=1):  # many small matrices: threads cost more than they give
        found = measure(
            learnt,
            unseen,
            layers=layers,
            method=vector.origin.method,
            probe=fitted,
            layer=vector.layer(),
            candidates=[layers[i] for i in candidates(model_layers, layers)],
            ablated=ablated,
            neutral_residuals=neutral,
            effort=Effort(resamples, permutations),
            seed=seed,
            progress=lambda step: click.echo(f"{step} ...", err=True),
        )
    if as_json:
        click.echo(json.dumps({"probe": str(probe), "pairs": pairs, **found.as_json()}))
    else:
        show(found)


def _split(vector: Vector, pairs: list[Pair], name: str) -> tuple[list[Pair], list[Pair]]:
    """The pairs that the probe was fitted on, if all of them are here, and those that it was not."""
    from localprobe.errors import DataError

    known = set(vector.origin.trained_on)
    test = [pair for pair in pairs if pair.hash not in known]
    train = [pair for pair in pairs if pair.hash in known]
    if not test:
        raise DataError(f"every pair of {name} was used to fit this probe: give pairs that it has not seen")
    return (train if known and len(train) == len(known) else []), test


def _examples(model: Model, vector: Vector, pairs: list[Pair], layers: list[int], what: str) -> Examples:
    from localprobe.cli.pairs import poles
    from localprobe.probing.examples import Examples

    return Examples.of(pairs, *poles(model, pairs, layers, vector.origin.pooling, what))


def _ablated(
    model: Model, vector: Vector, pairs: list[Pair], layers: list[int], keywords: Path | None
) -> Ablated | None:
    """The test texts without the concept's keywords; None if there is no list of them."""
    from localprobe.cli.pairs import captured
    from localprobe.errors import DataError
    from localprobe.probing.keywords import read_keywords, shipped_keywords
    from localprobe.probing.lexical import Ablated, ablate_pairs

    try:
        words = read_keywords(keywords) if keywords else shipped_keywords(vector.concept)
    except DataError:
        if keywords:
            raise
        return None
    high, low, counts = ablate_pairs([p.positive for p in pairs], [p.negative for p in pairs], words)
    residuals = captured(model, high + low, layers, vector.origin.pooling, "capturing without keywords")
    return Ablated(residuals[: len(high)], residuals[len(high) :], counts, len(words))


def _neutral(model: Model, vector: Vector, layers: list[int]) -> FloatArray:
    from localprobe.cli.pairs import captured
    from localprobe.contrast.pairs import read_texts, shipped

    return captured(model, read_texts(shipped("neutral")), layers, vector.origin.pooling, "capturing neutral texts")


def show(found: Validation) -> None:
    """The verdict first, then the table."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    verdict = found.verdict
    console.print(f"[bold]{verdict.headline}[/]")
    for title, lines in (("It shows", verdict.shows), ("It does not show", verdict.does_not_show)):
        if lines:
            console.print(f"\n[bold]{title}[/]")
            for line in lines:
                console.print(f"  · {line}", highlight=False)
    table = Table(box=None, header_style="bold", title=f"\n{found.test_pairs} test pairs", title_justify="left")
    for name in ("layer", "AUROC", "accuracy", "separation", "std +/-", "random", "z"):
        table.add_column(name, justify="right")
    for each in found.layers:
        m, i = each.measures, each.intervals
        marks = ("*" if each is found.nested else "") + ("†" if each is found.best else "")
        table.add_row(
            f"{marks}{each.layer}",
            f"{m.auroc:.3f} [{i.auroc[0]:.2f}, {i.auroc[1]:.2f}]",
            f"{m.accuracy:.0%} [{i.accuracy[0]:.0%}, {i.accuracy[1]:.0%}]",
            f"{m.separation:.2f} [{i.separation[0]:.2f}, {i.separation[1]:.2f}]",
            f"{m.std_positive:.2f} / {m.std_negative:.2f}",
            f"{each.random.mean:.2f} ± {each.random.std:.2f}",
            "" if each.random.z is None else f"{each.random.z:.1f}",
        )
    console.print(table)
    console.print("[dim]* chosen inside the training pairs   † best on these test pairs, which flatters it[/]")
