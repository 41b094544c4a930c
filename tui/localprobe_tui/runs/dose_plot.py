"""The dose-response plot of a sweep: the effect of a direction, and degeneration, at every strength."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from textual.content import Content

from localprobe_tui.widgets.plots import HIGH, QUIET, THIRD, QuietPlot

if TYPE_CHECKING:
    from localprobe.report.steering_arms import Arms
    from localprobe.stats.rates import Rate

_ACROSS = 240  # points of a dotted line: no cell is left out on a usual screen


@dataclass(frozen=True, slots=True)
class Response:
    """Shares of answers at one layer, over all prompts, by ascending strength."""

    layer: int
    strengths: Sequence[float]
    rate: Sequence[Rate]
    """In the concept's language."""
    degenerate: Sequence[Rate]


def responses(arms: Arms) -> Iterator[Response]:
    """A vector's responses in a model, layer by layer."""
    from localprobe.experiments.pooling import by_strength, pooled

    if (own := arms.series("vector")) is None:
        return
    for at in own.layers:
        strengths = by_strength(own.at(at.layer), arms.model.strength)
        rates = [[pooled(points, what) for points in strengths.values()] for what in ("rate", "degenerate")]
        yield Response(at.layer, list(strengths), *rates)


class DosePlot(QuietPlot):
    """One response: shares with their 95 % intervals over strengths."""

    DEFAULT_CSS = "DosePlot { min-height: 6; }"

    def show(self, response: Response) -> None:
        """Draw it. The widget must be mounted."""
        x = np.array(response.strengths)
        margin = 0.05 * float(np.ptp(x)) or 1.0
        self.clear()
        self.set_xlimits(float(x.min()) - margin, float(x.max()) + margin)
        self.set_ylimits(-0.06, 1.06)
        self.set_yticks([0.0, 0.5, 1.0])
        self.scatter(np.zeros(200), np.linspace(0, 1, 200), marker="┊", marker_style=QUIET)
        for at, rate in zip(x, response.rate, strict=True):
            heights = np.arange(rate.low, rate.high + 1e-9, 0.02)
            self.scatter(np.full(len(heights), at), heights, marker="│", marker_style=HIGH)
        self._curve(x, response.degenerate, "x", THIRD)
        self._curve(x, response.rate, "●", HIGH)

    def _curve(self, x: np.ndarray[Any, Any], rates: Sequence[Rate], mark: str, style: str) -> None:
        y = np.array([rate.share for rate in rates])
        across = np.linspace(x[0], x[-1], _ACROSS)  # a dotted line: not every font has the braille of a finer one
        self.scatter(across, np.interp(across, x, y), marker="·", marker_style=style)
        self.scatter(x, y, marker=mark, marker_style=style)


def legend(concept: str) -> Content:
    """The meaning of the marks of `DosePlot`."""
    return Content("  ").join(
        [Content.styled(f"● answers in {concept} language, 95 %", HIGH), Content.styled("x degenerate", THIRD)]
    )
