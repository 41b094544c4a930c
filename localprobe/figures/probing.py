"""What a probe measures, drawn on Axes: AUROC by layer, and the scores of both poles at one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from localprobe.figures.drawing import COLOURS, NEGATIVE, NEUTRAL, POSITIVE, band
from localprobe.stats.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def auroc_by_layer(
    axis: Axes,
    layers: Sequence[int],
    aurocs: Sequence[float],
    intervals: Sequence[Interval],
    *,
    random: Sequence[Sequence[float]] = (),
    bag_of_words: float | None = None,
    chosen: int | None = None,
) -> None:
    """The paper's Figure 1, with its controls.

    `random` holds the AUROCs of random directions at each layer, whose central 95 % are shaded grey; `bag_of_words` is
    the AUROC of a bag of words; `chosen` is the cross-validated layer.
    """
    x = list(layers)
    if random:
        band(axis, x, [tuple(np.quantile(values, [0.025, 0.975])) for values in random], NEUTRAL)
    band(axis, x, list(intervals), COLOURS[0])
    axis.plot(x, list(aurocs), color=COLOURS[0], marker="o", markersize=3, label="probe")
    if bag_of_words is not None:
        label = f"bag of words {bag_of_words:.2f}"
        axis.axhline(bag_of_words, color=COLOURS[1], linestyle="--", linewidth=1, label=label)
    if chosen is not None:
        axis.axvline(chosen, color=COLOURS[2], linestyle=":", label=f"layer {chosen}, chosen without these texts")
    axis.axhline(0.5, color=NEUTRAL, linewidth=0.6)
    axis.set(xlabel="layer", ylabel="AUROC", ylim=(0, 1.03))
    axis.legend(loc="lower right")


def score_histogram(
    axis: Axes,
    positive: Sequence[float],
    negative: Sequence[float],
    neutral: Sequence[float] = (),
    *,
    threshold: float,
    layer: int,
) -> None:
    """Scores of the texts of both poles, and of neutral ones, at one layer."""
    parts = [("positive", positive, POSITIVE), ("negative", negative, NEGATIVE)]
    if neutral:
        parts.append(("neutral", neutral, NEUTRAL))
    edges = np.histogram_bin_edges(np.concatenate([values for _, values, _ in parts]), 24).tolist()
    for name, values, colour in parts:
        axis.hist(values, bins=edges, color=colour, alpha=0.55, label=name)
    axis.axvline(threshold, color="#000000", linewidth=1, label="threshold")
    axis.set(xlabel=f"score at layer {layer}", ylabel="texts")
    axis.legend()
