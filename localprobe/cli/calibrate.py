"""`localprobe calibrate`: the threshold of a probe that has a false-positive rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.probing.calibrate import CalibrationReport
    from localprobe.vectors.calibrated import Calibration

_SHORTEST = 4
"""Tokens of the shortest mean whose threshold is printed."""
_FEW = 0.5
"""Share of the positive texts below which the user is told."""


@click.command()
@click.argument("vector")
@click.argument("texts", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--fpr", type=float, default=0.01, show_default=True, help="False-positive rate, above 0 and up to 0.5.")
@click.option("--layer", "-l", "layers", help="Layers, as 8,12 or 8-24; the vector's own choice if not given.")
@click.option(
    "--answers",
    type=click.IntRange(min=1),
    help="Calibrate on this many answers of the model to neutral questions, instead of on texts.",
)
@click.option("--tokens", type=click.IntRange(min=1), default=60, show_default=True, help="The most of an answer.")
@click.option("--positives", help="Pairs whose positive texts should fire it; the shipped set of its concept if any.")
@click.option("--text-field", help="Field of TEXTS that holds the texts.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the answers.")
@click.option("--json", "as_json", is_flag=True, help="Print the calibrations as JSON.")
@model_options
def calibrate(
    vector: str,
    texts: Path | None,
    fpr: float,
    layers: str | None,
    answers: int | None,
    tokens: int,
    positives: str | None,
    text_field: str | None,
    seed: int,
    as_json: bool,
    chosen: Chosen,
) -> None:
    """Find the scores above which tokens and texts without the concept lie at a false-positive rate, and keep them in
    the file of VECTOR, a file or a name.

    TEXTS are neutral texts (or questions, with --answers) in any file that `capture` reads, or a set that ships:
    everyday, or questions. Texts and answers have different thresholds: use --answers for what is to watch answers.

    \b
    localprobe calibrate empathy
    localprobe calibrate empathy --fpr 0.05 --answers 120
    localprobe calibrate probe.safetensors mine.txt
    """
    from localprobe.cli import show
    from localprobe.cli.layers import parse
    from localprobe.cli.options import loaded_with
    from localprobe.probing import calibrate as calibration
    from localprobe.store.json_values import to_json

    numbers = parse(layers)
    neutral = calibration.Neutral.read(texts, text_field, answers=answers, tokens=tokens, seed=seed)
    calibration.check(vector, fpr)
    with loaded_with(chosen, vector) as (model, probe):
        pairs = calibration.positives_of(probe, positives)
        with show.capturing() as capturing:
            report = calibration.calibrate(
                model, probe, fpr, neutral, layers=numbers, positives=pairs, capturing=capturing
            )
        report = calibration.keep(report, vector, model.info)
    for notice in report.notices:
        say(f"note: {notice}", err=True)
    if as_json:
        say_json({"path": str(report.path), "layers": to_json(report.calibrations)})
        return
    _show(report)
    say(f"-> {report.path}")


def _show(report: CalibrationReport) -> None:
    for layer, calibrations in report.calibrations.items():
        first = calibrations[0]
        say(
            f"{report.vector.concept} at layer {layer} of {first.model}: false-positive rate {first.fpr:g} on "
            f"{first.texts} {first.kind} ({first.source}), {first.tokens:,} tokens"
        )
        _thresholds(calibrations)
        _lengths(calibrations)


def _thresholds(calibrations: tuple[Calibration, ...]) -> None:
    from rich.table import Table

    from localprobe.cli.show import console
    from localprobe.stats.intervals import bracketed

    table = Table(box=None, header_style="bold")
    for name in ("threshold of", "score [95 %]", "neutral above it", "positive side", "negative side"):
        table.add_column(name, justify="left" if name == "threshold of" else "right")
    for each in calibrations:
        for length in _shown(each):
            of = "a token" if each.unit == "token" else f"a mean of {length} tokens"
            rates = (each.rate, each.true_positive, each.negative) if length == _shown(each)[0] else ()
            shown = ["" if rate is None else bracketed(rate.share, rate.interval, ".1%") for rate in rates]
            table.add_row(of, bracketed(each.at(length), each.interval(length)), *shown)
    console().print(table)
    for each in calibrations:
        if each.unit == "text" and each.true_positive and each.true_positive.share < _FEW:
            share = f"{each.true_positive.share:.0%}"
            say(
                f"note: {share} of the positive texts are above it: this probe tells few of them from neutral ones",
                err=True,
            )
    if all(each.true_positive is None for each in calibrations):
        say("positive side: no pairs are known that the probe was not fitted on; give some with --positives")


def _shown(calibration: Calibration) -> list[int]:
    """The lengths whose thresholds are printed: powers of two."""
    known = [knot.tokens for knot in calibration.knots]
    return [length for length in known if length >= _SHORTEST and not length & (length - 1)] or known


def _lengths(calibrations: tuple[Calibration, ...]) -> None:
    from rich.table import Table

    from localprobe.cli.show import console
    from localprobe.stats.intervals import bracketed

    table = Table(box=None, header_style="bold")
    table.add_column("false positives by length")
    bins = calibrations[0].lengths
    for one in bins:
        table.add_column(f"{one.least}-{one.most} tokens" if one.most else f"{one.least}+ tokens", justify="right")
    for each in calibrations:
        shown = {part.least: bracketed(part.rate.share, part.rate.interval, ".1%") for part in each.lengths}
        table.add_row(f"of {each.unit}s", *(shown.get(part.least, "") for part in bins))
    console().print(table)
