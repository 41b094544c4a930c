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
    from localprobe.probing.validation import Validation
    from localprobe.vectors.vector import Vector


@click.command()
@click.argument("probe", type=click.Path(path_type=Path))
@click.argument("pairs")
@click.option("--train", help="The pairs that it was fitted on, if PAIRS does not hold them.")
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
    train: str | None,
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
    from localprobe.cli.pairs import captured, hashed, read
    from localprobe.probing.fitting import probe_of
    from localprobe.probing.keywords import read_keywords
    from localprobe.probing.study import Texts, examine
    from localprobe.probing.validation import Effort
    from localprobe.store.runs import Runs, measured_on
    from localprobe.vectors import files as vector_files

    vector = vector_files.load(probe)
    layers = sorted(vector.directions)
    probe_of(vector, layers)  # says at once if it is none
    learnt, unseen = _split(vector, read(pairs, fields), read(train, fields) if train else [], pairs)
    words = read_keywords(keywords) if keywords else None
    texts = Texts.of(learnt, unseen, vector.concept, words, vector.origin.pooling)
    with chosen.of(vector).load() as model:
        for warning in vector.check_compatible(model.info):
            click.echo(f"warning: {warning}", err=True)
        residuals = captured(model, texts.all, layers, vector.origin.pooling, "capturing")
        info = model.info
    found = examine(
        vector,
        texts,
        residuals,
        info.layers,
        effort=Effort(resamples, permutations),
        seed=seed,
        progress=lambda step: click.echo(f"{step} ...", err=True),
    )
    result = {"probe": str(probe), "pairs": pairs, "measured_on": measured_on(info), **found.as_json()}
    about = {"hashes": hashed(probe=str(probe), pairs=pairs, train=train)}
    run = Runs().add("validate", f"{vector.concept} on {info.model} ({info.engine})", result, about=about)
    if as_json:
        click.echo(json.dumps({"run": run.id, **result}))
        return
    show(found.validation)
    click.echo(f"run {run.id}: localprobe report {run.id}", err=True)


def _split(vector: Vector, pairs: list[Pair], train: list[Pair], name: str) -> tuple[list[Pair], list[Pair]]:
    """The pairs that the probe was fitted on, if all of them are here, and those that it was not."""
    from localprobe.errors import DataError

    known = set(vector.origin.trained_on)
    test = [pair for pair in pairs if pair.hash not in known]
    learnt = {pair.hash: pair for pair in [*pairs, *train] if pair.hash in known}
    if not test:
        raise DataError(f"every pair of {name} was used to fit this probe: give pairs that it has not seen")
    if train and len(learnt) < len(known):
        raise DataError(
            f"{len(known) - len(learnt)} of the {len(known)} pairs that it was fitted on are in neither file"
        )
    return (list(learnt.values()) if known and len(learnt) == len(known) else []), test


def show(found: Validation) -> None:
    """The verdict first, then the table."""
    from rich.table import Table

    from localprobe.cli.show import console as out

    console = out()
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
