"""Text with a score for every token: tinted, marked so that it is readable without colour, or with bars beneath.

A strength is a score from -1 (negative pole) to 1 (positive pole): `strengths` makes it from raw scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.color import Color
from textual.content import Content, Span
from textual.style import Style

from localprobe.steering import tint
from localprobe.terminal_text import visible
from localprobe_tui.widgets.plots import BLOCKS, HIGH, LOW, sparkline

if TYPE_CHECKING:
    from localprobe.chats.turns import Turn

MILD, STRONG = 0.25, 0.75
"""Strengths from which a token is marked, and marked as strong."""
_TINT = 0.65
"""Opacity of the strongest background: the text on it stays readable in every theme."""


def strengths(scores: Sequence[float], *, threshold: float, norm: float) -> list[float]:
    """Scores of tokens as strengths; `norm` is how far apart the means of the poles' texts lie."""
    return tint.strengths(scores, threshold, tint.REACH * norm)


def tinted(pieces: Sequence[str], strength: Sequence[float]) -> Content:
    """Pieces of text, one per token, each on the colour of its pole. Positive ones are underlined, negative ones
    italic, and strong ones bold as well, so that sign and strength can be seen without colour."""
    spans, text = [], ""
    for piece, value in zip(pieces, strength, strict=True):
        spans.append(Span(len(text), len(text) + len(piece), style_of(value)))
        text += piece
    return Content(text, spans)


def ruled(pieces: Sequence[str], strength: Sequence[float], width: int) -> Content:
    """Pieces of text wrapped to `width` cells, with a line of bars under each line: half height is 0, full height is
    1."""
    characters = [(c, value) for piece, value in zip(pieces, strength, strict=True) for c in readable(piece)]
    lines = []
    for line in _wrapped(characters, max(width, 2)):
        lines.append(tinted([c for c, _ in line], [value for _, value in line]))
        lines.append(_bars(line))
    return Content("\n").join(lines)


def readable(text: str) -> str:
    """A model's text made safe for a terminal, one cell for each of its control characters: tabs become spaces."""
    return visible(text).replace("\t", " ")


def style_of(strength: float) -> Style:
    """The style of a token of some strength."""
    size = abs(strength)
    colour = Color.parse(HIGH if strength > 0 else LOW)
    return Style(
        background=colour.with_alpha(_TINT * size),
        underline=True if strength >= MILD else None,
        italic=True if strength <= -MILD else None,
        bold=True if size >= STRONG else None,
    )


def _bars(line: Sequence[tuple[str, float]]) -> Content:
    spans, text = [], ""
    for character, value in line:
        bar = BLOCKS[max(1, min(8, round(4.5 + 3.5 * value)))] * cell_len(character)
        spans.append(Span(len(text), len(text) + len(bar), Style(foreground=Color.parse(HIGH if value > 0 else LOW))))
        text += bar
    return Content(text, spans)


def _wrapped(characters: Sequence[tuple[str, float]], width: int) -> Iterator[list[tuple[str, float]]]:
    """Lines of at most `width` cells, broken at spaces where there are any."""
    line: list[tuple[str, float]] = []
    for character, value in characters:
        if character == "\n":
            yield line
            line = []
            continue
        if sum(cell_len(c) for c, _ in line) + cell_len(character) > width:
            at = max((i + 1 for i, (c, _) in enumerate(line) if c == " "), default=len(line))
            yield line[:at]
            line = line[at:]
        line.append((character, value))
    if line:
        yield line


def spark(turn: Turn, width: int) -> list[tuple[str, str]]:
    """The scores of an answer as a line of bars, and their mean; half height and 0 are the middle between the poles.
    Empty without scores."""
    reading, scores = turn.reading, [score for score in turn.own() if not isnan(score)]
    if reading is None or not scores:
        return []
    mean = sum(scores) / len(scores) - reading.threshold
    reach = max(tint.SPREAD * reading.norm / 2, *(abs(score - reading.threshold) for score in scores), 1e-9)
    colour = HIGH if mean > 0 else LOW
    bars = sparkline(scores, width, low=reading.threshold - reach, high=reading.threshold + reach)
    return [(bars, colour), (f" {mean:+.1f}", f"bold {colour}")]
