"""The frame of every screen: the top line, the keys at the bottom, and the progress of a load."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Footer

from localprobe_tui.frame.top_bar import TopBar
from localprobe_tui.shell import ShellScreen


class Page(ShellScreen):
    """One of the app's screens. Subclasses give `body`; `session_changed` is called after each change of the engine.

    It has the class `-narrow` under 100 columns, and `-wide` from there.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (Textual declares it so)
    MODE: ClassVar[str] = ""
    """The app's name for this screen."""

    def compose(self) -> ComposeResult:
        yield TopBar(self.MODE)
        yield from self.body()
        yield Footer(compact=True, show_command_palette=False)

    def body(self) -> ComposeResult:
        """Widgets between the top line and the keys."""
        yield from ()

    def on_mount(self) -> None:
        self.localprobe.session_changed.subscribe(self, lambda _: self.session_changed())
        self.session_changed()

    def session_changed(self) -> None:
        """A model was loaded, died or became busy: show it."""
