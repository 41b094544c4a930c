"""An answer on the screen: its knobs, its text coloured by the live score, and a sparkline of the score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content, Span
from textual.style import Style

from localprobe.steering.tint import SPREAD
from localprobe.terminal_text import visible
from localprobe_tui.talk import words as said
from localprobe_tui.widgets.growing import Growing, GrowsDown
from localprobe_tui.widgets.links import link
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.scores import spark, strengths, style_of

if TYPE_CHECKING:
    from localprobe.chats.turns import Turn

_STEPS = 8  # strengths are rounded to eighths, so that similar neighbouring tokens are drawn together
_SPARK = 24  # cells of a sparkline, where there is room
_MEAN = 9  # cells of a foot between its bars and its words: a mean such as -123.4, and spaces
_ROOM = 4  # rows by which a growing text grows: a new layout costs far more than filling a row
_REASONS = {
    "length": "at the limit",
    "context": "context full",
    "stopped": "stopped",
    "": "broken off",
}


class AnswerView(Vertical, GrowsDown):
    """Shows a turn; `paint` draws the new tokens."""

    DEFAULT_CSS = """
    AnswerView {
        height: auto; width: 1fr; padding: 0 1; margin: 0 0 1 0; border-left: outer $secondary;
        & > .head { color: $text-secondary; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        & > .foot { color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        & > .warning { color: $text-warning; display: none; }
        & > .warning.-on { display: block; }
        &.-plain { border-left: outer $foreground 30%; }
        &.-plain > .head { color: $text-muted; }
        &.-kept > .head { text-style: bold underline; }
    }
    """

    def __init__(self, turn: Turn, place: tuple[int, int] = (1, 1), *, tinted: bool = True) -> None:
        super().__init__(classes="" if turn.parts and turn.parts[0].knobs else "-plain")
        self.turn = turn
        self.tinted = tinted
        """Whether tokens are coloured by their score."""
        self._place = place  # its number among the answers to the same message, and how many there are
        self._painted: tuple[object, ...] = ()
        self._going = False

    def compose(self) -> ComposeResult:
        yield Static(self._head(), classes="head")
        yield Growing(classes="body")
        yield Static(classes="foot")
        yield Static(classes="warning")

    def on_mount(self) -> None:
        self.paint(going=False)

    def on_resize(self) -> None:
        self.paint(going=self._going)

    def paint(self, *, going: bool) -> None:
        """Redraw the turn; it costs nothing without new tokens."""
        turn = self.turn
        self._going = going
        told = sum(len(turn.details.get(name, [])) for name in ("gates", "alerts"))
        new = (len(turn.pieces), len(turn.content), len(turn.parts), turn.reason, self._known(), told)
        state = (*new, self.tinted, going, self.size.width)
        if state == self._painted or not self.is_mounted:
            return
        self._painted = state
        self.query_one(".head", Static).update(self._head(), layout=False)
        body, text = self.query_one(Growing), self._body(going)
        # A new layout costs several times as much as drawing the text: only if the height changes.
        width, height = body.size
        rows = text.get_height({}, width) if width else 0
        if going:
            rows = math.ceil(rows / _ROOM) * _ROOM
        body.styles.min_height = rows
        body.grow(text, layout=not width or rows != height)
        self.query_one(".foot", Static).update(self._foot(going), layout=False)
        warning = self.query_one(".warning", Static)
        words = self._warning()
        warning.set_class(bool(words), "-on")
        if str(warning.content) != words:
            warning.update(words)

    def _known(self) -> int:
        """The number of scores. Only the last token's can be missing."""
        scores = self.turn.scores
        return len(scores) - bool(scores and math.isnan(scores[-1]))

    def _head(self) -> Content:
        parts = self.turn.parts
        words = " → ".join(said.in_words(part.knobs) for part in parts) or "unsteered"
        return Content.assemble(words, arrows(self.turn, *self._place))

    def _body(self, going: bool) -> Content:
        """The text, every token in the style of its score; each later dose where it took effect, gates where they
        turned, and a flag and reversed colours where a probe fired."""
        spans: list[Span] = []
        text = ""
        marks = {part.start: said.in_words(part.knobs) for part in self.turn.parts if part.start}
        gates, fired = said.turned(self.turn), {alert.token for alert in self.turn.alerts}
        for number, (piece, tint) in enumerate(self._styled()):
            before = [(f" [{marks[number]}] ", "dim bold")] if number in marks else []
            before += [(f"⟦{gate}⟧", "dim") for gate in gates.get(number, [])]
            before += [("⚑", "bold")] if number in fired and number - 1 not in fired else []
            for mark, look in before:
                spans.append(Span(len(text), len(text) + len(mark), look))
                text += mark
            style = (tint or Style()) + Style(reverse=True) if number in fired else tint
            if style is not None and piece:
                if spans and spans[-1].end == len(text) and spans[-1].style == style:
                    start = spans.pop().start
                    spans.append(Span(start, len(text) + len(piece), style))
                else:
                    spans.append(Span(len(text), len(text) + len(piece), style))
            text += piece
        if going:
            spans.append(Span(len(text), len(text) + 1, "blink"))
            text += "▌"
        return Content(text, spans)

    def _styled(self) -> Iterator[tuple[str, Style | None]]:
        turn = self.turn
        read = turn.reading if self.tinted else None
        pieces = map(visible, turn.pieces)
        if read is None:
            return ((piece, None) for piece in pieces)
        token_strengths = strengths(turn.own(), threshold=read.threshold, norm=SPREAD * read.norm)
        styles: dict[float, Style] = {}
        rounded = [round(strength * _STEPS) / _STEPS for strength in token_strengths]
        for strength in set(rounded) - {0.0}:
            styles[strength] = style_of(strength)
        return ((piece, styles.get(strength)) for piece, strength in zip(pieces, rounded, strict=True))

    def _foot(self, going: bool) -> Content:
        turn = self.turn
        count = len(turn.pieces)
        words = f"{count} token{'s' if count != 1 else ''}" if count else ("reading the prompt ..." if going else "")
        if not going and turn.reason in _REASONS:
            words += f", {_REASONS[turn.reason]}"
        words = words.removeprefix(", ")
        line = spark(turn, max(4, min(_SPARK, self.size.width - len(words) - _MEAN)))  # the words matter more
        return Content.assemble(*line, "  " if line else "", words)

    def _warning(self) -> str:
        words = []
        if reasons := self.turn.details.get("degenerate"):
            words.append(f"The text degenerates: {', '.join(reasons)}.")
        words += self.turn.details.get("beyond", [])
        words += [f"{line}." for line in said.alarm_lines(self.turn)] if not self._going else []
        return "⚠ " + " ".join(words) if words else ""


def arrows(turn: Turn, number: int, of: int) -> Content:
    """`◂ 2 of 3 ▸` where a turn has siblings; a click on an arrow shows the next one."""
    if of < 2:
        return Content("")
    back, on = (link(f" {arrow} ", f"screen.sibling('{turn.id}', {step})") for arrow, step in (("◂", -1), ("▸", 1)))
    return Content.assemble("  ", back, f"{number} of {of}", on)
