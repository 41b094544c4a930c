"""Sheets over a screen: their style, and one to edit a text."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, TextArea

from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Static, plain

SHEET = """
    align: center middle;
    & > Vertical {
        width: 64; max-width: 96%; height: auto; max-height: 96%; padding: 0 1; background: $surface;
        border: round $primary; border-title-style: bold;
    }
    & Horizontal { height: auto; }
    & Button { margin: 0 1 0 0; }
"""


class TextSheet(ModalScreen[str | None]):
    """A text of several lines to edit; returns None if cancelled."""

    DEFAULT_CSS = "TextSheet {" + SHEET + "& TextArea { height: 8; margin: 0 0 1 0; } }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="sheet.close"),
        Binding("ctrl+s", "save", "Save", id="sheet.save"),
    ]

    def __init__(self, title: str, text: str, about: str) -> None:
        super().__init__()
        self._title, self._text, self._about = title, text, about

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = plain(self._title)
            box.border_subtitle = closes()
            yield Static(self._about)
            yield TextArea(self._text, highlight_cursor_line=False)
            with Horizontal():
                yield Button("Save  ^s", variant="primary", id="save", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @on(Button.Pressed, "#save")
    def action_save(self) -> None:
        self.dismiss(self.query_one(TextArea).text.strip())

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.dismiss(None)
