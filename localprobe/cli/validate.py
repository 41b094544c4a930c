"""`localprobe validate`: what a probe shows, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json
from localprobe.cli.pairs import pair_options

if TYPE_CHECKING:
    from localprobe.probing.result import ProbeResult


@click.command()
@click.argument("probe")
@click.argument("pairs")
@click.option("--train", help="The pairs that PROBE was fitted on, if PAIRS lacks them.")
@click.option("--keywords", type=click.Path(path_type=Path), help="Words and synonyms for the lexical ablation.")
@click.option("--permutations", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--resamples", type=click.IntRange(min=100), default=2000, show_default=True, help="Bootstrap resamples.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@pair_options
@model_options
def validate(
    probe: str,
    pairs: str,
    train: str | None,
    keywords: Path | None,
    permutations: int,
    resamples: int,
    seed: int,
    as_json: bool,
    fields: dict[str, str | None],
    chosen: Chosen,
) -> None:
    """Measure PROBE on the pairs of PAIRS that it was not fitted on, against baselines and chance.

    \b
    localprobe validate empathy.safetensors empathy
    """
    from localprobe.cli import show
    from localprobe.cli.options import loaded_with
    from localprobe.cli.pairs import hashed, read
    from localprobe.probing.config import ProbeConfig
    from localprobe.probing.keywords import KEYWORD_LISTS, read_keywords
    from localprobe.probing.recorded import record
    from localprobe.probing.validate import texts_for
    from localprobe.probing.validate import validate as validate_probe
    from localprobe.store.json_values import to_json

    config = ProbeConfig(resamples=resamples, permutations=permutations, seed=seed)
    measured_on, fitted_on = read(pairs, fields), read(train, fields) if train else ()
    words = read_keywords(KEYWORD_LISTS.resolve(keywords)) if keywords else None
    with loaded_with(chosen, probe) as (model, vector), show.capturing() as capturing:
        texts = texts_for(vector, measured_on, train=fitted_on, config=config, keywords=words, source=pairs)
        report = validate_probe(model, vector, texts, capturing=capturing, progress=show.step)
    hashes = hashed(pairs=pairs, train=train)
    report = record(report, "validate", pairs=pairs, hashes=hashes)
    if as_json:
        say_json({"run": report.run, "probe": probe, **to_json(report.result)})
        return
    show_result(report.result)
    say(f"run {report.run}: localprobe report {report.run}", err=True)


def show_result(result: ProbeResult) -> None:
    """The verdict first, then the table."""
    from rich.table import Table

    from localprobe.cli.show import console as out
    from localprobe.stats.intervals import bracketed

    console = out()
    if verdict := result.verdict:
        console.print(verdict.headline, style="bold")
        for title, lines in (("It shows", verdict.shows), ("It does not show", verdict.does_not_show)):
            if lines:
                console.print(f"\n{title}", style="bold")
                for line in lines:
                    console.print(f"  · {line}", highlight=False)
    table = Table(box=None, header_style="bold", title=f"\n{result.test_pairs} test pairs", title_justify="left")
    for name in ("layer", "AUROC", "accuracy", "separation", "std +/-", "random", "z"):
        table.add_column(name, justify="right")
    best = result.best.layer
    for row in result.layers:
        marks = ("*" if row.layer == result.layer else "") + ("†" if row.layer == best else "")
        table.add_row(
            f"{marks}{row.layer}",
            bracketed(row.auroc, row.auroc_interval, value_spec=".3f"),
            bracketed(row.accuracy, row.accuracy_interval, ".0%"),
            bracketed(row.separation, row.separation_interval),
            f"{row.std_positive:.2f} / {row.std_negative:.2f}",
            f"{row.random.mean:.2f} ± {row.random.std:.2f}" if row.random else "",
            f"{row.random.z:.1f}" if row.random and row.random.z is not None else "",
        )
    console.print(table)
    note = "* cross-validated inside the training pairs   † best on these test pairs, which flatters it"
    console.print(note, style="dim")
