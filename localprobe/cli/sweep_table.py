"""A sweep's result as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from localprobe.cli.show import Console, styled
from localprobe.experiments.ablation import AblationLayer, AblationSeries
from localprobe.experiments.pooling import GroupedMeasures, average, by_strength, perplexity_ratio, pooled
from localprobe.experiments.result import LayerSummary, ModelResult, Series, SweepResult
from localprobe.report.steering_ablation import on_ablation, on_expression
from localprobe.report.steering_ablation_tables import by_share
from localprobe.store.json_values import from_json

if TYPE_CHECKING:
    from localprobe.store.runs import Run

_SHARES: tuple[Literal["rate", "coherent", "degenerate"], ...] = ("rate", "coherent", "degenerate")


def show(run: Run) -> None:
    """One dose-response table per model, vector and layer, and per ablated direction; then the vector compared with the
    other arms; then the steering expressions."""
    console, result = Console(), from_json(SweepResult, run.result)
    cells = result.cells
    missing = f"; {cells.missing} are not yet generated" if cells.missing > 0 else ""
    console.print(styled((result.name, "bold"), f": {cells.done} of {cells.expected} cells{missing}"), highlight=False)
    if result.uncounted:
        console.print(result.uncounted, highlight=False)
    for model in result.models:
        label = f", {model.label}" if model.label else ""
        console.print(styled("\n", (model.model, "bold"), f" on {model.engine}{label}"), highlight=False)
        for series in model.series:
            for layer in series.layers if series.arm == "vector" else ():
                _series(console, result.concept, model, series, layer)
        for ablated in model.ablations:
            for at in ablated.layers if ablated.arm == "ablate" else ():
                _ablation(console, result.concept, ablated, at)
        _arms(console, model)
        for vector in dict.fromkeys(ablated.vector for ablated in model.ablations):
            for line in on_ablation(model, vector, result.concept):
                console.print(line, style="dim", highlight=False)
        _expressions(console, result.concept, model)


def _series(console: Console, concept: str, model: ModelResult, series: Series, layer: LayerSummary) -> None:
    auroc = "" if layer.auroc is None else f", AUROC {layer.auroc:.2f} on pairs held out"
    console.print(f"\n{series.vector} at layer {layer.layer}{auroc}", highlight=False)
    table = _table(model.unit, concept)
    for strength, points in by_strength(series.at(layer.layer), model.strength).items():
        table.add_row(f"{strength:+g}" if strength else "0", *_row(points))
    console.print(table)
    console.print(_verdict(layer, model.unit), style="dim", highlight=False)


def _ablation(console: Console, concept: str, series: AblationSeries, layer: AblationLayer) -> None:
    console.print(f"\n{series.vector}: its direction of layer {layer.layer} ablated at every layer", highlight=False)
    table = _table("share", concept)
    for share, points in by_share(series.at(layer.layer)).items():
        table.add_row(f"{share:g}", *_row(points))
    console.print(table)


def _expressions(console: Console, concept: str, model: ModelResult) -> None:
    if not model.expressed:
        return
    table = _table("steering", concept, why=False)  # room for the expressions
    table.title, table.title_justify = "\nSteering expressions", "left"
    table.columns[0].justify, table.columns[0].overflow = "left", "fold"
    for each in model.expressed:
        table.add_row(each.expression, *_row([(point.key, point.steered) for point in each.points])[:-1])
    console.print(table)
    for each in model.expressed:
        console.print(on_expression(each, concept), style="dim", highlight=False)


def _table(first: str, concept: str, *, why: bool = True) -> Table:
    table = Table(box=None, header_style="bold")
    measures = (concept, "coherent", "degenerate", "probe", "perplexity", "KL")
    for name in (first, *measures, *(["why degenerate"] if why else [])):
        table.add_column(name, justify="left" if name == "why degenerate" else "right")
    return table


def _row(points: Sequence[GroupedMeasures]) -> list[str]:
    reasons = Counter[str]()
    for _, point in points:
        reasons.update(point.reasons)
    return [
        *(f"{pooled(points, measure).share:.0%}" for measure in _SHARES),
        _figure(average(points, "reading"), "{:+.2f}"),
        _figure(perplexity_ratio(points), "x{:.2f}"),
        _figure(average(points, "kl"), "{:.2f}"),
        ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3)),
    ]


def _verdict(layer: LayerSummary, unit: str) -> str:
    success, slope, usable = layer.success, layer.response.slope, layer.response.usable
    return (
        f"success {success.paper.share:.0%} by the paper's rule, {success.null_effects} of its {success.cells} "
        f"cells null effects; strict {success.strict}; slope {slope.value:+.2f} ({slope.low:+.2f} to "
        f"{slope.high:+.2f}) per unit of {unit}; usable {f'{usable[0]:+g} to {usable[1]:+g}' if usable else 'none'}"
    )


def _arms(console: Console, model: ModelResult) -> None:
    """The vector at the ends of its usable range, compared with the other arms and with ablations."""
    rows = [row for row in model.sceptic if row.rates.prompt_positive or row.rates.random_up or row.share]
    if not rows:
        return
    table = Table(
        box=None, header_style="bold", title="\nWhat does it do that a prompt does not?", title_justify="left"
    )
    ablated = any(row.share for row in rows)
    for name in ("layer", "", "down", "baseline", "up", *(["ablated"] if ablated else [])):
        table.add_column(name, justify="left" if name == "" else "right")
    for row in rows:
        rates = row.rates
        share = f"share {row.share or 0:g}"
        for arm, *ends in (
            (f"vector, {row.down or 0:+g} and {row.up or 0:+g}", rates.vector_down, rates.vector_up, None),
            ("random directions", rates.random_down, rates.random_up, None),
            ("system prompts", rates.prompt_negative, rates.prompt_positive, None),
            ("both", rates.both_down, rates.both_up, None),
            (f"ablated, {share}", None, None, rates.ablated),
            (f"random ablated, {share}", None, None, rates.random_ablated),
        ):
            if any(ends):
                down, up, without = ends
                cells = (down, rates.baseline, up, *([without] if ablated else []))
                table.add_row(str(row.layer), arm, *(str(rate or "") for rate in cells))
    console.print(table)


def _figure(value: float | None, shape: str) -> str:
    return "" if value is None else shape.format(value)
