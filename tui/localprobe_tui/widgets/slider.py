"""A slider for a number, signed or from 0 on, worked by mouse and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

FINE, COARSE = 0.01, 0.05
"""Steps of a slider that reaches 0.5 either way; another's are in proportion."""


class Slider(Widget, can_focus=True):
    """`-0.5 ─────┼───●─── +0.5`, or `0 ├─────●─── 1`. Values typed elsewhere may lie beyond the ends; the knob then
    stands at the end."""

    DEFAULT_CSS = """
    Slider { height: 1; width: 1fr; color: $foreground; }
    Slider:focus { background: $boost; }
    Slider.-off { color: $foreground 50%; }
    """
    FOCUS_ON_CLICK = False  # dragging leaves the focus in the prompt: what is typed next must not be keys of a knob
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,down", f"move({-FINE})", "Less", id="slider.less", show=False),
        Binding("right,up", f"move({FINE})", "More", id="slider.more", show=False),
        Binding("shift+left,pagedown", f"move({-COARSE})", "Much less", id="slider.much_less", show=False),
        Binding("shift+right,pageup", f"move({COARSE})", "Much more", id="slider.much_more", show=False),
        Binding("0,home", "zero", "Zero", id="slider.zero", show=False),
    ]

    value: reactive[float] = reactive(0.0)
    reach: reactive[float] = reactive(0.5)
    signed: reactive[bool] = reactive(True)
    """Whether it reaches as far below 0 as above."""

    @dataclass
    class Changed(Message):
        """The user moved the slider."""

        value: float

    def __init__(self, value: float = 0.0, reach: float = 0.5, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.set_reactive(Slider.reach, reach)
        self.set_reactive(Slider.value, value)

    def render(self) -> Content:
        left, right = self._labels
        zero = self._zero
        line = ["─"] * self._track
        line[zero] = "┼" if self.signed else "├"
        at = self._cell(self.value)
        low, high = sorted((at, zero))
        line[at] = "●"
        track = "".join(line)
        return Content.assemble(
            (left, "dim"),
            (track[:low], "dim"),
            (track[low : high + 1], "bold"),
            (track[high + 1 :], "dim"),
            (right, "dim"),
        )

    def action_move(self, step: float) -> None:
        self.turn(self.value + step * (self.reach - self._low))

    def action_zero(self) -> None:
        self.turn(0.0)

    def turn(self, value: float) -> None:
        """Move to a value as the user does."""
        value = round(max(self._low, min(self.reach, value)), 3)
        if value != self.value:
            self.value = value + 0.0
            self.post_message(self.Changed(self.value))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._drag(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._drag(event)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(FINE)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(-FINE)

    @property
    def _low(self) -> float:
        return -self.reach if self.signed else 0.0

    @property
    def _labels(self) -> tuple[str, str]:
        return (f"-{self.reach:g} ", f" +{self.reach:g}") if self.signed else ("0 ", f" {self.reach:g}")

    @property
    def _track(self) -> int:
        """Cells between the labels: odd if it is signed, so that zero is a cell."""
        width = max(5, self.size.width - sum(map(len, self._labels)))
        return width - (width + 1) % 2 if self.signed else width

    @property
    def _zero(self) -> int:
        """The cell of 0."""
        return self._track // 2 if self.signed else 0

    @property
    def _span(self) -> int:
        """Cells from 0 to the end."""
        return self._track - 1 - self._zero

    def _cell(self, value: float) -> int:
        cell = round(max(self._low / self.reach, min(1.0, value / self.reach)) * self._span)
        return self._zero + (cell if cell or not value else (1 if value > 0 else -1))  # a small dose is not none

    def _drag(self, event: events.MouseEvent) -> None:
        offset = event.x - len(self._labels[0]) - self._zero
        self.turn(max(-1.0, min(1.0, offset / self._span)) * self.reach)
