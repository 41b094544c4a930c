"""Figures of a sweep, drawn on Axes: the share of answers by dose, and by layer the probe's AUROC and steering
success."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from localprobe.figures.drawing import COLOURS, NEGATIVE, NEUTRAL, band
from localprobe.stats.rates import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BROKEN = 0.5
"""Doses with this share of degenerate answers or more are crossed out."""


def dose_response(
    axis: Axes,
    doses: Sequence[float],
    rates: Sequence[Rate],
    degenerate: Sequence[Rate],
    *,
    colour: str = COLOURS[0],
    intervals: Literal["bars", "band", ""] = "bars",
    **style: Any,
) -> None:
    """A line through the share of answers at each dose, with its intervals; crosses where half of them or more are
    degenerate. `style` goes to `Axes.plot`."""
    doses, shares = list(doses), [rate.share for rate in rates]
    if intervals == "bars":
        axis.errorbar(doses, shares, yerr=errors(rates), fmt="none", color=colour, linewidth=0.8)
    elif intervals == "band":
        band(axis, doses, [rate.interval for rate in rates], colour)
    axis.plot(doses, shares, color=colour, markersize=3, linewidth=1.3, **style)
    broken = [i for i, rate in enumerate(degenerate) if rate.share >= BROKEN]
    if broken:
        crossed = [doses[i] for i in broken], [shares[i] for i in broken]
        axis.plot(*crossed, "x", color=NEGATIVE, ms=7, label="degenerate")


def by_layer(
    axis: Axes,
    layers: Sequence[int],
    strict: Sequence[Rate],
    paper: Sequence[Rate],
    aurocs: Sequence[float | None],
) -> None:
    """Each layer's AUROC as a probe (None where unknown) beside its steering success, by both rules."""
    measured = [(layer, auroc) for layer, auroc in zip(layers, aurocs, strict=True) if auroc is not None]
    if measured:
        axis.plot(*zip(*measured, strict=True), "s-", ms=4, color=COLOURS[2], label="AUROC")
    shares = [rate.share for rate in paper]
    axis.plot(layers, shares, "o:", ms=4, mfc="none", color=NEGATIVE, label="success, paper's rule")
    shares = [rate.share for rate in strict]
    axis.errorbar(layers, shares, yerr=errors(strict), fmt="o-", ms=4, color=COLOURS[0], label="success, strict")
    axis.axhline(0.5, color=NEUTRAL, linewidth=0.6)
    axis.set(xlabel="layer", xticks=spread(layers, 8), ylim=(-0.03, 1.05))


def errors(rates: Sequence[Rate]) -> list[list[float]]:
    """Lengths of error bars, down and up, as matplotlib takes them."""
    return [[rate.share - rate.low for rate in rates], [rate.high - rate.share for rate in rates]]


def spread(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
