"""Themes of the app: dark, light, and one of high contrast; and none, for NO_COLOR."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

_OTHER = 0.1  # difference in brightness from which a background marks something: a cursor, a line of a list, a button

DARK = Theme(
    name="localprobe-dark",
    primary="#3f8fd2",
    secondary="#d9822b",
    accent="#d9822b",
    warning="#e0a030",
    error="#e06060",
    success="#5fae7a",
    foreground="#d8dbe0",
    background="#14161a",
    surface="#1b1e24",
    panel="#242830",
)
LIGHT = Theme(
    name="localprobe-light",
    primary="#1f6aa5",
    secondary="#a8590c",
    accent="#a8590c",
    warning="#8a5a00",
    error="#b3261e",
    success="#1e7a45",
    foreground="#1d2127",
    background="#f7f7f5",
    surface="#eeeeeb",
    panel="#e2e3e0",
    dark=False,
)
CONTRAST = Theme(
    name="localprobe-contrast",
    primary="#ffffff",
    secondary="#ffff00",
    accent="#ffff00",
    warning="#ffff00",
    error="#ff6060",
    success="#00ff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#202020",
    text_alpha=1.0,
)
THEMES = (DARK, LIGHT, CONTRAST)


class Colourless(LineFilter):
    """Leaves the terminal's own two colours: no escape code for any other is written, greys included.

    Text that is marked only by its background is reversed. Tokens with a score are not: they are underlined or italic
    already.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Segments without colour."""
        return [
            Segment(text, _colourless(style, background.brightness) if style else style, control)
            for text, style, control in segments
        ]


COLOURLESS = Colourless()


def _colourless(style: Style, usual: float) -> Style:
    own = style.bgcolor.get_truecolor() if style.bgcolor else None
    plain = style.without_color + Style.from_meta(style.meta)  # Rich drops it: links and rows are clicked by it
    if own is None or style.underline or style.italic or style.reverse:
        return plain
    other = abs(Color(*own).brightness - usual) > _OTHER
    return plain + Style(reverse=True) if other else plain
