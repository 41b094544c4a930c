"""The paper's Figures 1 to 5, out of results: each model's own, and all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from localprobe.figures.drawing import COLOURS, MARKERS, NEGATIVE, NEUTRAL, POSITIVE, band, drawing
from localprobe.report.section import Figure

Result = Mapping[str, Any]


def auroc_by_layer(found: Result, name: str) -> Figure:
    """Figure 1, with what it should be read against: random directions, a bag of words, and the layer chosen without
    the test texts."""
    layers = found["layers"]
    x = [each["layer"] for each in layers]
    with drawing(f"figure-1-{name}") as sheet:
        (axis,) = sheet
        random = [_central(each["random"]["aurocs"]) for each in layers]
        band(axis, x, random, NEUTRAL)
        band(axis, x, [each["auroc_interval"] for each in layers], COLOURS[0])
        axis.plot(x, [each["auroc"] for each in layers], color=COLOURS[0], marker="o", markersize=3, label="probe")
        words = found["baselines"]["bag_of_words"]["auroc"]
        axis.axhline(words, color=COLOURS[1], linestyle="--", linewidth=1, label=f"bag of words {words:.2f}")
        chosen = found["nested"]["layer"]
        axis.axvline(chosen, color=COLOURS[2], linestyle=":", label=f"layer {chosen}, chosen without these texts")
        axis.axhline(0.5, color=NEUTRAL, linewidth=0.6)
        axis.set(xlabel="layer", ylabel="AUROC", ylim=(0, 1.03))
        axis.legend(loc="lower right")
    return Figure(
        f"figure-1-{name}",
        f"AUROC by layer on {found['test_pairs']} unseen pairs, with 95 % intervals; grey: where 95 % of random "
        "directions fall (the paper's Figure 1).",
        sheet.svg,
    )


def random_directions(found: Result, name: str) -> Figure:
    """Figure 2: the probe among random directions at its layer."""
    layer = _nested(found)
    random, reached = layer["random"], layer["auroc"]
    with drawing(f"figure-2-{name}", height=2.6) as sheet:
        (axis,) = sheet
        axis.hist(random["aurocs"], bins=np.linspace(0, 1, 21).tolist(), color=NEUTRAL, alpha=0.6, label="random")
        axis.axvline(random["percentile_95"], color=COLOURS[4], linestyle="--", label="their 95th percentile")
        axis.axvline(reached, color=COLOURS[0], linewidth=2, label=f"probe {reached:.2f}")
        axis.set(xlabel="AUROC", ylabel="directions", xlim=(0, 1.02))
        axis.legend(loc="upper left")
    z = "" if random["z"] is None else f", z = {random['z']:.2f}"
    return Figure(
        f"figure-2-{name}",
        f"The probe at layer {layer['layer']} among {len(random['aurocs'])} random directions: "
        f"{random['mean']:.2f} ± {random['std']:.2f}{z} (the paper's Figure 2).",
        sheet.svg,
    )


def lexical(found: Result, name: str) -> Figure | None:
    """Figure 3: AUROC with and without keywords, at every layer."""
    if not found["lexical"] or "ablated_auroc" not in found.get("scores", {}):
        return None
    x = [each["layer"] for each in found["layers"]]
    with drawing(f"figure-3-{name}", height=2.6) as sheet:
        (axis,) = sheet
        axis.plot(
            x,
            [each["auroc"] for each in found["layers"]],
            color=COLOURS[0],
            marker="o",
            markersize=3,
            label="as written",
        )
        axis.plot(
            x, found["scores"]["ablated_auroc"], color=COLOURS[1], marker="s", markersize=3, label="keywords replaced"
        )
        axis.set(xlabel="layer", ylabel="AUROC", ylim=(0, 1.03))
        axis.legend(loc="lower right")
    ablation = found["lexical"]
    return Figure(
        f"figure-3-{name}",
        f"{ablation['keywords']} keywords gave way to synonyms in the test texts, {ablation['replaced']:.1f} words a "
        "pair (the paper's Figure 3). With few words replaced this says little.",
        sheet.svg,
    )


def histogram(found: Result, name: str) -> Figure | None:
    """Scores of both poles, and of neutral texts, at the chosen layer."""
    if "scores" not in found:
        return None
    at = [each["layer"] for each in found["layers"]].index(found["nested"]["layer"])
    parts = {what: found["scores"][what][at] for what in ("positive", "negative", "neutral")}
    edges = np.histogram_bin_edges(np.concatenate(list(parts.values())), 24).tolist()
    with drawing(f"scores-{name}", height=2.6) as sheet:
        (axis,) = sheet
        for (what, values), colour in zip(parts.items(), (POSITIVE, NEGATIVE, NEUTRAL), strict=True):
            axis.hist(values, bins=edges, color=colour, alpha=0.55, label=what)
        axis.axvline(found["scores"]["threshold"][at], color="#000000", linewidth=1, label="threshold")
        axis.set(xlabel=f"score at layer {found['nested']['layer']}", ylabel="texts")
        axis.legend()
    return Figure(f"scores-{name}", "Scores of unseen texts of both poles, and of neutral texts.", sheet.svg)


def cross_model(models: Sequence[Result]) -> Figure:
    """Figure 4: AUROC by layer of every model, over its depth."""
    with drawing("figure-4") as sheet:
        (axis,) = sheet
        for i, found in enumerate(models):
            x = [each["layer"] for each in found["layers"]]
            y = [each["auroc"] for each in found["layers"]]
            axis.plot(x, y, color=_colour(i), marker=MARKERS[i % len(MARKERS)], markersize=3, label=_titled(found))
        axis.axhline(0.5, color=NEUTRAL, linewidth=0.6)
        axis.set(xlabel="layer", ylabel="AUROC", ylim=(0, 1.03))
        axis.legend(loc="lower right")
    return Figure(
        "figure-4", "AUROC by layer of every model on the same unseen pairs (the paper's Figure 4).", sheet.svg
    )


def behaviour(models: Sequence[Result]) -> Figure | None:
    """Figure 5: scores against ratings, a panel for every model."""
    shown = [found for found in models if found.get("behaviour")]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with drawing("figure-5", columns, rows, width=3.2 * columns, height=2.8 * rows) as sheet:
        for axis, found in zip(sheet.axes, shown, strict=False):
            points = found["behaviour"]["points"]
            scenarios = list(dict.fromkeys(point["scenario"] for point in points))
            for i, scenario in enumerate(scenarios):
                own = [point for point in points if point["scenario"] == scenario]
                axis.scatter(
                    [point["rating"] for point in own],
                    [point["score"] for point in own],
                    color=_colour(i),
                    marker=MARKERS[i % len(MARKERS)],
                    s=22,
                    label=scenario or None,
                )
            r = found["behaviour"]["pearson"]
            axis.set(title=f"{_titled(found)}\nr = {r['value']:.2f}, p = {r['p']:.3f}", xlabel="rating", ylabel="score")
        for axis in sheet.axes[len(shown) :]:
            axis.set_axis_off()
        if len({point["scenario"] for point in shown[0]["behaviour"]["points"]}) > 1:
            sheet.axes[0].legend(fontsize=6)
    return Figure("figure-5", "Scores of rated texts, for every model (the paper's Figure 5).", sheet.svg)


def _nested(found: Result) -> Result:
    chosen: Result = next(each for each in found["layers"] if each["layer"] == found["nested"]["layer"])
    return chosen


def _central(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _titled(found: Result) -> str:
    return f"{found['name']}, {found['label']}" if found.get("label") else str(found["name"])


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]
