"""Drawing with matplotlib, without its global state: reproducible SVG to embed in a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from localprobe.terminal_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
"""Okabe and Ito's palette, distinguishable by the colour-blind too."""
POSITIVE, NEGATIVE, NEUTRAL = COLOURS[0], COLOURS[1], "#8a8a8a"
MARKERS = "osD^vPX*"

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a dollar in a title is a dollar
    "text.usetex": False,
}


@contextmanager
def drawing(name: str, columns: int = 1, rows: int = 1, *, width: float = 6.4, height: float = 3.4) -> Iterator[Sheet]:
    """A sheet of axes in a grid, `width` by `height` inches; its `svg` is set when the block ends."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's own fonts draw the text
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        sheet = Sheet([axis for row in axes for axis in row])
        yield sheet
        out = io.BytesIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        sheet.svg = _inline(out.getvalue().decode(), name)


class Sheet:
    """Axes to draw on, and the finished SVG."""

    def __init__(self, axes: list[Axes]) -> None:
        self.axes = axes
        self.svg = ""

    def __iter__(self) -> Iterator[Axes]:
        return iter(self.axes)

    def finish(self, used: int | None = None) -> None:
        """Hide the axes after the first `used`, and draw one legend for all under them."""
        for axis in self.axes[used:] if used is not None else ():
            axis.set_axis_off()
        handles: dict[str, Any] = {}
        for axis in self.axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        if handles:
            self.axes[0].figure.legend(
                handles.values(), handles.keys(), loc="outside lower center", ncols=min(3, len(handles))
            )


def colour(number: int) -> str:
    """The colour of the n-th series; they repeat."""
    return COLOURS[number % len(COLOURS)]


def band(axis: Axes, x: list[Any], intervals: list[Any], colour: str) -> None:
    """Shade intervals (low, high) along x."""
    axis.fill_between(x, [i[0] for i in intervals], [i[1] for i in intervals], color=colour, alpha=0.15, linewidth=0)


def _inline(svg: str, name: str) -> str:
    """An SVG file as an element of a page: no prologue, unique ids, no wider than the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="([^"]*)pt"', r'\1 style="max-width:\2pt;width:100%" role="img"', svg, count=1)
    slug = re.sub(r"\W+", "-", name)
    svg = re.sub(r'\bid="', f'id="{slug}-', svg)
    svg = svg.replace('xlink:href="#', f'xlink:href="#{slug}-').replace("url(#", f"url(#{slug}-")
    return visible(svg.replace("#000000", "currentColor"))  # legible on a dark page too
