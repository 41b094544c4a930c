"""The plot of AUROC by layer, and histograms and sparklines in block characters.

Everything is distinguished by its character as well as by its colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.content import Content
from textual.message import Message
from textual_plot import NumericAxisFormatter, PlotWidget

from localprobe.steering import tint

if TYPE_CHECKING:
    from localprobe.probing.result import ProbeResult

BLOCKS = " ▁▂▃▄▅▆▇█"
HIGH, LOW = tint.HIGH, tint.LOW
"""Colours of the positive and the negative pole."""
QUIET, THIRD = "#808080", "#a06cd5"

Array: TypeAlias = NDArray[np.float64] | NDArray[np.int64]

_LABEL = 5  # cells before a histogram for the name of its pole
_ACROSS, _STEP = 240, 0.02
"""Of a filled band: points across the plot, and AUROC between two points. No cell is larger on a usual screen."""


class OneDecimal(NumericAxisFormatter):
    """Labels with one decimal."""

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        return [f"{tick:.1f}" for tick in ticks]


class QuietPlot(PlotWidget):
    """A plot without pan and zoom, that takes no keys; its y axis has one decimal."""

    DEFAULT_CSS = """
    QuietPlot { height: 1fr; min-height: 5; }
    QuietPlot > .plot--axis { color: $foreground 40%; }
    QuietPlot > .plot--tick { color: $foreground 70%; text-style: none; }
    """

    def __init__(self, **about: Any) -> None:
        super().__init__(allow_pan_and_zoom=False, **about)
        self.can_focus = False  # the arrow keys belong to the screen

    def on_mount(self) -> None:
        self.set_reactive(PlotWidget.margin_top, 0)
        self.set_reactive(PlotWidget.margin_bottom, 1)
        self.set_reactive(PlotWidget.margin_left, 5)
        super().on_mount()
        self.set_y_formatter(OneDecimal())


class AurocPlot(QuietPlot):
    """AUROC of a validation by layer. A click on a layer posts `LayerChosen`."""

    @dataclass
    class LayerChosen(Message):
        """A layer was clicked."""

        layer: int

    def __init__(self, **about: Any) -> None:
        super().__init__(**about)
        self._layers: list[int] = []

    def show(self, result: ProbeResult, layer: int) -> None:
        """Draw a probe's figures with one layer marked. The widget must be mounted."""
        rows = result.layers
        self._layers = [row.layer for row in rows]
        x = np.arange(len(rows))
        areas = np.array([row.auroc for row in rows])
        bottom = float(min(0.4, np.floor(10 * areas.min()) / 10))
        self.clear()
        self.set_xlimits(-0.6, len(rows) - 0.4)
        self.set_ylimits(bottom, 1.04)
        self.set_yticks([tick / 10 for tick in range(0, 11, 2)])
        self.set_x_formatter(Layers(self._layers))
        if all(row.random for row in rows):
            bands = [tuple(np.quantile(row.random.aurocs, [0.025, 0.975])) for row in rows if row.random]
            self._columns(x, bands, "░", QUIET, wide=True)
        if result.validation and (baselines := result.validation.baselines):
            words = np.full(_ACROSS, baselines.bag_of_words.auroc)
            self._marks(np.linspace(-0.5, len(rows) - 0.5, _ACROSS), words, "╌", LOW)
        self._columns(x, [row.auroc_interval for row in rows], "│", HIGH, wide=False)
        if result.scores and (without := result.scores.ablated_auroc):
            self._marks(x, np.maximum(without, bottom), "○", THIRD)
        self._marks(x, areas, "●", HIGH)
        if layer in self._layers:
            at = self._layers.index(layer)
            self._marks(x[at : at + 1], areas[at : at + 1], "◆", f"bold reverse {HIGH}")

    def on_click(self, event: events.Click) -> None:
        canvas = self.query_one("#plot").region
        x, y = event.screen_x - canvas.x, event.screen_y - canvas.y
        if self._layers and 0 <= x < canvas.width and 0 <= y < canvas.height:
            at = round(self.get_coordinate_from_pixel(x, y)[0])
            self.post_message(self.LayerChosen(self._layers[max(0, min(at, len(self._layers) - 1))]))

    def _columns(self, x: Array, reach: Sequence[Sequence[float]], mark: str, style: str, *, wide: bool) -> None:
        """Columns of marks from low to high at each x, without gaps."""
        offsets = np.linspace(-0.5, 0.5, max(1, _ACROSS // len(x))) if wide else np.zeros(1)
        points = [
            (at + offset, height)
            for at, (low, high) in zip(x, reach, strict=True)
            for height in np.arange(max(low, self._y_min), min(high, 1.0) + 1e-9, _STEP)
            for offset in offsets
        ]
        if points:
            across, up = zip(*points, strict=True)
            self._marks(np.array(across), np.array(up), mark, style)

    def _marks(self, x: Array, y: Array, mark: str, style: str) -> None:
        self.scatter(x, y, marker=mark, marker_style=style)


def legend(result: ProbeResult, width: int) -> Content:
    """The meaning of the marks of `AurocPlot`, in one line if it fits."""
    names = [("● probe, 95 %", "● probe", "● probe", HIGH)]
    if all(row.random for row in result.layers):
        names.append(("░ random directions, 95 %", "░ random directions", "░ random", QUIET))
    validation = result.validation
    if validation and validation.baselines:
        words = f"{validation.baselines.bag_of_words.auroc:.2f}"
        names.append((f"╌ bag of words {words}", f"╌ bag of words {words}", f"╌ words {words}", LOW))
    if validation and validation.lexical:
        after = f"{validation.lexical.after.auroc:.2f}"
        names.append((f"○ without keywords {after}", f"○ without keywords {after}", f"○ ablated {after}", THIRD))
    for length in range(3):
        line = Content("  ").join(Content.styled(each[length], each[3]) for each in names)
        if len(line) <= width:
            return line
    return Content("\n").join(_broken([Content.styled(each[2], each[3]) for each in names], width))


def _broken(names: Sequence[Content], width: int) -> list[Content]:
    """Names in as few lines as possible, unbroken."""
    lines: list[Content] = []
    for name in names:
        if lines and len(lines[-1]) + 2 + len(name) <= width:
            lines[-1] = Content.assemble(lines[-1], "  ", name)
        else:
            lines.append(name)
    return lines


def histogram(
    positive: Sequence[float], negative: Sequence[float], *, threshold: float, width: int, rows: int, note: str = ""
) -> Content:
    """Scores of both poles over one axis, `width` cells wide, each pole `rows` cells high, the threshold marked and a
    note beside it."""
    across = max(width - _LABEL, 8)
    every = np.array([*positive, *negative, threshold])
    low, high = float(every.min()), float(every.max())
    high += float(high == low)
    edges = np.linspace(low, high, across + 1)
    counts = [np.histogram(scores, edges)[0] for scores in (positive, negative)]
    most = max(1, *(int(count.max()) for count in counts))
    cut = min(across - 1, int((threshold - low) / (high - low) * across))
    lines = []
    for name, count, colour in zip(("high", "low"), counts, (HIGH, LOW), strict=True):
        bars = _bars(count / most, rows, cut)
        names = [""] * (rows - 1) + [name]
        lines += [Content.styled(f"{each:<{_LABEL}}{bar}", colour) for each, bar in zip(names, bars, strict=True)]
    axis = "─" * cut + "┴" + "─" * (across - cut - 1)
    lines += [
        Content.styled(" " * _LABEL + line, QUIET)
        for line in (axis, _scale(low, f"threshold {threshold:.3g}{note}", high, across))
    ]
    return Content("\n").join(lines)


def _scale(low: float, middle: str, high: float, width: int) -> str:
    """Both ends of an axis, and a text between them if it fits."""
    left, right = f"{low:.3g}", f"{high:.3g}"
    room = width - len(left) - len(right)
    return left + (middle if len(middle) + 2 <= room else "").center(room) + right


def gauge(position: float, width: int) -> str:
    """A position between two poles, 0 and 1, as a point on a line that extends beyond both by a half."""
    line = ["─"] * max(width, 8)

    def cell(value: float) -> int:
        return round((max(-0.5, min(1.5, value)) + 0.5) / 2 * (len(line) - 1))

    for pole in (0, 1):
        line[cell(pole)] = "┼"
    line[cell(position)] = "●"
    return "".join(line)


def sparkline(values: Sequence[float], width: int, *, low: float | None = None, high: float | None = None) -> str:
    """Values as blocks of eight heights, with the means of neighbours if there are more than `width`."""
    if not len(values):
        return ""
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = np.array([part.mean() for part in parts])
    bottom = float(means.min()) if low is None else low
    top = float(means.max()) if high is None else high
    scaled = np.clip((means - bottom) / (top - bottom), 0, 1) if top > bottom else np.full(len(means), 0.5)
    return "".join(BLOCKS[1 + round(7 * each)] for each in scaled)


def _bars(heights: Array, rows: int, cut: int) -> list[str]:
    """Bars of heights from 0 to 1 as lines of blocks, the highest line first; a thin line stands at `cut`."""
    eighths = np.ceil(heights * rows * 8).astype(int)
    lines = []
    for row in range(rows - 1, -1, -1):
        line = [BLOCKS[max(0, min(8, each - 8 * row))] for each in eighths]
        if line[cut] == " ":
            line[cut] = "┊"
        lines.append("".join(line))
    return lines


class Layers(NumericAxisFormatter):
    """Ticks at the places of layers, labelled with their numbers."""

    def __init__(self, layers: Sequence[int]) -> None:
        self._layers = layers

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        step = next(step for step in (1, 2, 5, 10, 20, 50) if len(self._layers) <= step * max_ticks)
        return [float(place) for place in range(0, len(self._layers), step)]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        return [str(self._layers[int(tick)]) for tick in ticks]
