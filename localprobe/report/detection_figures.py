"""The paper's Figures 1 to 5 from results: of each model, and of all models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localprobe.figures.drawing import COLOURS, MARKERS, NEUTRAL, colour, drawing
from localprobe.probing.behaviour import Behaviour
from localprobe.probing.detection import Detection
from localprobe.probing.result import ProbeResult
from localprobe.report.section import Figure


def auroc_by_layer(result: ProbeResult, name: str) -> Figure:
    """Figure 1 with its controls: random directions, a bag of words, and the cross-validated layer."""
    with drawing(f"figure-1-{name}") as sheet:
        result.draw_auroc(*sheet)
    return Figure(
        f"figure-1-{name}",
        f"AUROC by layer on {result.test_pairs} unseen pairs, with 95 % intervals; grey: where 95 % of random "
        "directions fall (the paper's Figure 1).",
        sheet.svg,
    )


def random_directions(result: ProbeResult, name: str) -> Figure | None:
    """Figure 2: the probe among random directions at its layer."""
    row = result.chosen
    if (random := row.random) is None:
        return None
    with drawing(f"figure-2-{name}", height=2.6) as sheet:
        (axis,) = sheet
        axis.hist(random.aurocs, bins=np.linspace(0, 1, 21).tolist(), color=NEUTRAL, alpha=0.6, label="random")
        axis.axvline(random.percentile_95, color=COLOURS[4], linestyle="--", label="their 95th percentile")
        axis.axvline(row.auroc, color=COLOURS[0], linewidth=2, label=f"probe {row.auroc:.2f}")
        axis.set(xlabel="AUROC", ylabel="directions", xlim=(0, 1.02))
        axis.legend(loc="upper left")
    z = "" if random.z is None else f", z = {random.z:.2f}"
    return Figure(
        f"figure-2-{name}",
        f"The probe at layer {row.layer} among {len(random.aurocs)} random directions: "
        f"{random.mean:.2f} ± {random.std:.2f}{z} (the paper's Figure 2).",
        sheet.svg,
    )


def lexical(result: ProbeResult, name: str) -> Figure | None:
    """Figure 3: AUROC with and without keywords, at every layer."""
    ablation = result.validation.lexical if result.validation else None
    if ablation is None or result.scores is None:
        return None
    x = [row.layer for row in result.layers]
    series = (
        ("as written", [row.auroc for row in result.layers], COLOURS[0], "o"),
        ("keywords replaced", result.scores.ablated_auroc, COLOURS[1], "s"),
    )
    with drawing(f"figure-3-{name}", height=2.6) as sheet:
        (axis,) = sheet
        for label, aurocs, colour, marker in series:
            axis.plot(x, aurocs, color=colour, marker=marker, markersize=3, label=label)
        axis.set(xlabel="layer", ylabel="AUROC", ylim=(0, 1.03))
        axis.legend(loc="lower right")
    return Figure(
        f"figure-3-{name}",
        f"{ablation.keywords} keywords were replaced by synonyms in the test texts, {ablation.replaced:.1f} words per "
        "pair (the paper's Figure 3). With few words replaced this says little.",
        sheet.svg,
    )


def histogram(result: ProbeResult, name: str) -> Figure | None:
    """Scores of both poles, and of neutral texts, at the cross-validated layer."""
    if result.scores is None:
        return None
    with drawing(f"scores-{name}", height=2.6) as sheet:
        result.draw_scores(*sheet)
    return Figure(f"scores-{name}", "Scores of unseen texts of both poles, and of neutral texts.", sheet.svg)


def cross_model(models: Sequence[Detection]) -> Figure:
    """Figure 4: AUROC of every model by relative depth of the layer."""
    with drawing("figure-4") as sheet:
        (axis,) = sheet
        for i, detection in enumerate(models):
            x = [row.layer for row in detection.probe.layers]
            y = [row.auroc for row in detection.probe.layers]
            axis.plot(x, y, color=colour(i), marker=MARKERS[i % len(MARKERS)], markersize=3, label=detection.titled)
        axis.axhline(0.5, color=NEUTRAL, linewidth=0.6)
        axis.set(xlabel="layer", ylabel="AUROC", ylim=(0, 1.03))
        axis.legend(loc="lower right")
    return Figure(
        "figure-4", "AUROC by layer of every model on the same unseen pairs (the paper's Figure 4).", sheet.svg
    )


def behaviour(models: Sequence[tuple[str, Behaviour]]) -> Figure:
    """Figure 5: scores against ratings, one panel per model."""
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    with drawing("figure-5", columns, rows, width=3.2 * columns, height=2.8 * rows) as sheet:
        for axis, (name, rated) in zip(sheet.axes, models, strict=False):
            scenarios = list(dict.fromkeys(point.scenario for point in rated.points))
            for i, scenario in enumerate(scenarios):
                own = [point for point in rated.points if point.scenario == scenario]
                axis.scatter(
                    [point.rating for point in own],
                    [point.score for point in own],
                    color=colour(i),
                    marker=MARKERS[i % len(MARKERS)],
                    s=22,
                    label=scenario or None,
                )
            r = rated.pearson
            axis.set(title=f"{name}\nr = {r.value:.2f}, p = {r.p:.3f}", xlabel="rating", ylabel="score")
        for axis in sheet.axes[len(models) :]:
            axis.set_axis_off()
        if len({point.scenario for point in models[0][1].points}) > 1:
            sheet.axes[0].legend(fontsize=6)
    return Figure("figure-5", "Scores of rated texts, for every model (the paper's Figure 5).", sheet.svg)
