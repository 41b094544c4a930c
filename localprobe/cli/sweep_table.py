"""A sweep's result as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(result: Mapping[str, Any]) -> None:
    """A dose-response table for each model, vector and layer; then the vector beside the other arms."""
    console = Console()
    cells = result["cells"]
    missing = cells["expected"] - cells["done"]
    left = f"; {missing} are still to be generated" if missing > 0 else ""
    console.print(f"[bold]{result['name']}[/]: {cells['done']} of {cells['expected']} cells{left}", highlight=False)
    for model in result["models"]:
        label = f", {model['label']}" if model["label"] else ""
        console.print(f"\n[bold]{model['model']}[/] on {model['engine']}{label}", highlight=False)
        for series in (each for each in model["series"] if each["arm"] == "vector"):
            for layer in series["layers"]:
                _series(console, result["concept"], model["unit"], series, layer)
        _sceptic(console, model)


def _series(console: Console, concept: str, unit: str, series: Mapping[str, Any], layer: Mapping[str, Any]) -> None:
    auroc = f", AUROC {layer['auroc']:.2f} on pairs held out" if layer["auroc"] is not None else ""
    curves = [curve for curve in series["curves"] if curve["layer"] == layer["layer"]]
    console.print(f"\n{series['vector']} at layer {layer['layer']}{auroc}", highlight=False)
    table = Table(box=None, header_style="bold")
    for name in (unit, concept, "coherent", "degenerate", "probe", "perplexity", "KL", "why degenerate"):
        table.add_column(name, justify="left" if name == "why degenerate" else "right")
    for strength in sorted({point[unit] for curve in curves for point in curve["points"]}):
        points = [point for curve in curves for point in curve["points"] if point[unit] == strength]
        table.add_row(*_row(points, strength))
    console.print(table)
    console.print(_verdict(layer, unit), highlight=False)


def _row(points: list[Mapping[str, Any]], strength: float) -> list[str]:
    """One strength over all prompts."""
    reasons: dict[str, int] = {}
    for point in points:
        for reason, count in point["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    why = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items(), key=lambda r: -r[1])[:3])
    return [
        f"{strength:+g}" if strength else "0",
        *(f"{_share(points, name):.0%}" for name in ("rate", "coherent", "degenerate")),
        _mean([point["reading"] and point["reading"]["value"] for point in points], "{:+.2f}"),
        _mean([point["perplexity_ratio"] and point["perplexity_ratio"]["value"] for point in points], "x{:.2f}"),
        _mean([point["kl"] for point in points], "{:.2f}"),
        why,
    ]


def _verdict(layer: Mapping[str, Any], unit: str) -> str:
    s, r = layer["success"], layer["response"]
    paper, strict = s["paper"], s["strict"]
    usable = "none" if r["usable"] is None else f"{r['usable'][0]:+g} to {r['usable'][1]:+g}"
    slope = r["slope"]
    return (
        f"[dim]success {paper['share']:.0%} by the paper's rule, {s['null_effects']} of its {paper['of']} cells null "
        f"effects; strict {strict['share']:.0%} ({strict['low']:.0%} to {strict['high']:.0%}); slope "
        f"{slope['value']:+.2f} ({slope['low']:+.2f} to {slope['high']:+.2f}) a unit of {unit}; usable {usable}[/]"
    )


def _sceptic(console: Console, model: Mapping[str, Any]) -> None:
    rows = [row for row in model["sceptic"] if row["rates"]["prompt_positive"] or row["rates"]["random_up"]]
    if not rows:
        return
    table = Table(
        box=None, header_style="bold", title="\nWhat does it do that a prompt does not?", title_justify="left"
    )
    names = ("layer", "", "down", "baseline", "up")
    for name in names:
        table.add_column(name, justify="left" if name == "" else "right")
    for row in rows:
        rates = row["rates"]
        doses = f"vector, {row['down'] or 0:+g} and {row['up'] or 0:+g}"
        for what, down, up in (
            (doses, "vector_down", "vector_up"),
            ("random directions", "random_down", "random_up"),
            ("system prompts", "prompt_negative", "prompt_positive"),
            ("both", "both_down", "both_up"),
        ):
            if rates[down] or rates[up]:
                table.add_row(str(row["layer"]), what, _rate(rates[down]), _rate(rates["baseline"]), _rate(rates[up]))
    console.print(table)


def _rate(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{found['share']:.0%} ({found['low']:.0%} to {found['high']:.0%})"


def _share(points: list[Mapping[str, Any]], name: str) -> float:
    return float(sum(point[name]["share"] * point["samples"] for point in points) / sum(p["samples"] for p in points))


def _mean(values: list[float | None], shape: str) -> str:
    known = [value for value in values if value is not None]
    return shape.format(sum(known) / len(known)) if known else ""
