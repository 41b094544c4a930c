"""What every screen of the app has: the line at its top, its keys at the bottom, and the app behind it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from localprobe_tui.top_bar import TopBar

if TYPE_CHECKING:
    from localprobe_tui.app import LocalprobeApp
    from localprobe_tui.session import Session


def later(module: str, name: str) -> Callable[[], Screen[Any]]:
    """A screen that is imported when it is first shown."""

    def make() -> Screen[Any]:
        screen: Screen[Any] = getattr(import_module(f"localprobe_tui.{module}"), name)()
        return screen

    return make


class Page(Screen[None]):
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

    @property
    def localprobe(self) -> LocalprobeApp:
        """The app, under its own type."""
        return cast("LocalprobeApp", self.app)

    @property
    def session(self) -> Session:
        """The engine."""
        return self.localprobe.session
