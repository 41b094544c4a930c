"""A sweep's result as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from localprobe.cli.show import Console, styled
from localprobe.experiments.pooling import Grouped, average, by_strength, perplexity_ratio, pooled
from localprobe.experiments.result import LayerSummary, ModelResult, Series, SweepResult
from localprobe.store.json_values import from_json

if TYPE_CHECKING:
    from localprobe.store.runs import Run

_SHARES: tuple[Literal["rate", "coherent", "degenerate"], ...] = ("rate", "coherent", "degenerate")


def show(run: Run) -> None:
    """One dose-response table per model, vector and layer; then the vector compared with the other arms."""
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
        _arms(console, model)


def _series(console: Console, concept: str, model: ModelResult, series: Series, layer: LayerSummary) -> None:
    auroc = "" if layer.auroc is None else f", AUROC {layer.auroc:.2f} on pairs held out"
    console.print(f"\n{series.vector} at layer {layer.layer}{auroc}", highlight=False)
    table = Table(box=None, header_style="bold")
    for name in (model.unit, concept, "coherent", "degenerate", "probe", "perplexity", "KL", "why degenerate"):
        table.add_column(name, justify="left" if name == "why degenerate" else "right")
    for strength, points in by_strength(series.at(layer.layer), model.strength).items():
        table.add_row(f"{strength:+g}" if strength else "0", *_row(points))
    console.print(table)
    console.print(_verdict(layer, model.unit), style="dim", highlight=False)


def _row(points: list[Grouped]) -> list[str]:
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
    """The vector at the ends of its usable range, compared with the other arms."""
    rows = [row for row in model.sceptic if row.rates.prompt_positive or row.rates.random_up]
    if not rows:
        return
    table = Table(
        box=None, header_style="bold", title="\nWhat does it do that a prompt does not?", title_justify="left"
    )
    for name in ("layer", "", "down", "baseline", "up"):
        table.add_column(name, justify="left" if name == "" else "right")
    for row in rows:
        rates = row.rates
        for arm, down, up in (
            (f"vector, {row.down or 0:+g} and {row.up or 0:+g}", rates.vector_down, rates.vector_up),
            ("random directions", rates.random_down, rates.random_up),
            ("system prompts", rates.prompt_negative, rates.prompt_positive),
            ("both", rates.both_down, rates.both_up),
        ):
            if down or up:
                table.add_row(str(row.layer), arm, *(str(rate or "") for rate in (down, rates.baseline, up)))
    console.print(table)


def _figure(value: float | None, shape: str) -> str:
    return "" if value is None else shape.format(value)
