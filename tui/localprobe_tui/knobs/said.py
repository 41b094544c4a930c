"""A line in the steering language: checked while it is typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from localprobe.errors import LocalprobeError
from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Static, plain
from localprobe_tui.widgets.sheets import SHEET

_TEXT = re.compile(r'^".*?": (?=(?:line \d+, )?column \d+: )')  # the text that an error begins with


class SaidDialog(ModalScreen[bool]):
    """One line to type. `read` gives what is read from it, for the user to see, or raises LocalprobeError; `accept`
    takes it, and the dialog stays open if that raises."""

    DEFAULT_CSS = (
        "SaidDialog {"
        + SHEET
        + """
            & > Vertical { width: 90; }
            & .told { height: 3; padding: 0 1; }
            & .told.-error { color: $text-error; }
            & .about { color: $text-muted; padding: 0 1; }
        }
        """
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(False)", "Close", id="dialog.close")]

    def __init__(
        self,
        title: str,
        value: str,
        hint: str,
        about: str,
        read: Callable[[str], object],
        accept: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._title, self._value, self._hint, self._about = title, value, hint, about
        self._read, self._accept = read, accept

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = plain(self._title)
            box.border_subtitle = closes("dismiss(False)")
            yield Input(self._value, placeholder=self._hint, select_on_focus=False)
            yield Static(classes="told")
            yield Static(self._about, classes="about")

    def on_mount(self) -> None:
        self._check(self._value)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._check(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            return
        try:
            self._accept(event.value)
        except LocalprobeError as error:
            self._tell(str(error), error=True)
        else:
            self.dismiss(True)

    def _check(self, text: str) -> None:
        """Show what is read from the text, or what is wrong with it and where."""
        if not text.strip():
            self._tell("")
            return
        try:
            self._tell(f"enter: {self._read(text)}")
        except LocalprobeError as error:
            self._tell(str(error), error=True)

    def _tell(self, words: str, *, error: bool = False) -> None:
        told = self.query_one(".told", Static)
        told.set_class(error, "-error")
        told.update(_TEXT.sub("", words), layout=False)
