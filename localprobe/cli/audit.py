"""`localprobe audit`: measures of steered texts from any source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from rich.table import Table

    from localprobe.cli.show import Console
    from localprobe.experiments.audit import Audit, AuditedModel
    from localprobe.experiments.samples import SampleFile
    from localprobe.stats.rates import Rate
    from localprobe.text_metrics.word_lists import WordLists

F = TypeVar("F", bound=Callable[..., Any])

_LEGEND = (
    "rate: share of answers with more positive words than negative ones; base: rate at alpha 0; effect: rate - base; "
    "paper: cells with (alpha > 0) == (effect > 0); strict: with effect * alpha > 0; nulls: effects of 0 that the "
    "paper's rule counts; yet coherent: degenerate answers that it calls coherent; [95 % intervals]"
)


def _field_options(command: F) -> F:
    """`--model-field` and the other options that name a field."""
    for name in ("text", "alpha", "scenario", "layer", "model"):
        option = click.option(f"--{name}-field", default=name, show_default=True, help=f"Field that holds the {name}.")
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--concept", help="Concept whose shipped word lists mark an answer; empathy if not given.")
@click.option(
    "--word-lists",
    type=click.Path(path_type=Path),
    help="JSON with lists of words, positive and negative, to use instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@_field_options
def audit(file: Path, concept: str | None, word_lists: Path | None, as_json: bool, **fields: str) -> None:
    """Measure the steered generations of FILE: JSONL, one per line, with model, layer, scenario, alpha and text.

    Success by the paper's rule and by a strict one, null effects, coherence, degeneration and dose-response: everything
    that needs no model. FILE must include generations at alpha 0, for one layer or for all. - reads stdin.

    \b
    localprobe audit generations.jsonl
    localprobe audit theirs.jsonl --text-field output --alpha-field coefficient --json
    """
    from localprobe.experiments.audit import audit as measure
    from localprobe.experiments.outcomes import outcomes
    from localprobe.experiments.samples import read_samples
    from localprobe.store.json_values import to_json

    lists = _lists(concept, word_lists)
    file_samples = read_samples(file, {option.removesuffix("_field"): field for option, field in fields.items()})
    audited = measure(outcomes(file_samples.samples, lists))
    _warn(file, file_samples, audited)
    if as_json:
        about = {"file": str(file), "concept": None if word_lists else concept or "empathy"}
        words = {"positive": lists.positive, "negative": lists.negative}
        say_json({**about, "word_lists": words, **to_json(audited)})
    else:
        _show(audited)


def _lists(concept: str | None, path: Path | None) -> WordLists:
    from localprobe.errors import UsageError
    from localprobe.text_metrics.word_lists import WORD_LISTS, read_word_lists

    if concept and path:
        raise UsageError("--concept and --word-lists both name word lists: give one of them")
    return read_word_lists(WORD_LISTS.resolve(path) if path else WORD_LISTS.path(concept or "empathy"))


def _warn(file: Path, file_samples: SampleFile, audited: Audit) -> None:
    if file_samples.torn:
        say(f"warning: {file}, line {file_samples.torn}: the last line is incomplete and was ignored", err=True)
    for name in sorted({sample.model for sample in file_samples.samples} - set(audited.models)):
        say(f"warning: {name} has only unsteered answers (alpha 0) and was left out", err=True)


def _show(audited: Audit) -> None:
    from localprobe.cli.show import Console
    from localprobe.experiments.findings import sentences

    console = Console()
    for name, model in audited.models.items():
        console.print(name, style="bold", highlight=False)
        console.print(_curves(model))
        console.print(_strengths(model))
        console.print(_bullets(sentences(model)))
        console.print()
    _totals(console, audited)


def _curves(model: AuditedModel) -> Table:
    """One row per layer and scenario, as in the paper's Table 4."""
    table = _table("layer", "scenario", "base", "paper", "strict", "nulls", "coherent", "degen.", "usable")
    table.columns[1].justify = "left"
    for curve in model.curves:
        usable = curve.response.usable
        table.add_row(
            str(curve.layer),
            curve.scenario,
            f"{curve.baseline:.2f}",
            f"{curve.success.paper.share:.1%}",
            f"{curve.success.strict.share:.1%}",
            str(curve.success.null_effects),
            f"{curve.coherence:.0%}",
            f"{curve.degenerate / curve.samples:.0%}",
            f"{usable[0]:g}..{usable[1]:g}" if usable else "none",
        )
    return table


def _strengths(model: AuditedModel) -> Table:
    table = _table("alpha", "answers", "rate", "coherent", "degenerate", "yet coherent")
    for condition in model.conditions:
        table.add_row(
            f"{condition.alpha:g}",
            str(condition.samples),
            f"{condition.rate.share:.2f}",
            f"{condition.coherent.share:.0%}",
            f"{condition.degenerate.share:.0%}",
            str(condition.fooled),
        )
    return table


def _totals(console: Console, audited: Audit) -> None:
    table = _table("model", "cells", "paper", "strict", "nulls", "degenerate", "yet coherent")
    table.columns[0].justify = "left"
    table.columns[2].no_wrap = table.columns[3].no_wrap = True
    rows = [*audited.models.items(), *([("all", audited.totals)] if len(audited.models) > 1 else [])]
    for name, row in rows:
        table.add_row(
            name,
            str(row.success.cells),
            _percent(row.success.paper),
            _percent(row.success.strict),
            str(row.success.null_effects),
            f"{row.degenerate} of {row.samples}",
            str(row.fooled),
        )
    console.print(table)
    console.print(_LEGEND, style="dim", highlight=False)


def _percent(rate: Rate) -> str:
    return f"{rate.share:.1%} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def _table(*names: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _bullets(lines: list[str]) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row(" ·", line)
    return table
