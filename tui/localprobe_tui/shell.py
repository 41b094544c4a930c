"""The interface of the app to its screens and widgets, which avoids an import circle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from textual.dom import DOMNode
from textual.screen import Screen
from textual.signal import Signal

from localprobe.errors import LocalprobeError

if TYPE_CHECKING:
    from localprobe.engines.spec import ModelSpec
    from localprobe.vectors.vector import Vector
    from localprobe_tui.engine.session import EngineSession
    from localprobe_tui.talk.controller import ChatController


class Shell(Protocol):
    """The app, as its screens see it."""

    session: EngineSession
    """The engine."""
    session_changed: Signal[None]
    """Published after each change of the session."""
    talk: ChatController
    """The chat that is open."""
    vectors: list[Vector]
    """Directions that the chat can steer with."""

    def load_model(self, spec: ModelSpec) -> object:
        """Load a model; every screen shows the progress. An error is shown in a dialog."""

    def offer_model(self) -> None:
        """Show that there is no model, and offer to load one."""

    def use_vector(self, vector: Vector) -> None:
        """Add a direction to the chat, and show the chat."""

    def look_up_ranges(self) -> object:
        """Look up the doses that sweeps found usable, for the knobs of the chat."""

    def show_error(self, error: LocalprobeError) -> None:
        """Show an error in a dialog."""


def shell(node: DOMNode) -> Shell:
    """The app around a screen or a widget."""
    return cast("Shell", node.app)


@contextmanager
def errors_shown(node: DOMNode) -> Iterator[None]:
    """Show a LocalprobeError of the block in a dialog."""
    try:
        yield
    except LocalprobeError as error:
        shell(node).show_error(error)


class ShellScreen(Screen[None]):
    """A screen that works with the app's engine and chat."""

    @property
    def localprobe(self) -> Shell:
        """The app."""
        return shell(self)

    @property
    def session(self) -> EngineSession:
        """The engine."""
        return self.localprobe.session

    @property
    def talk(self) -> ChatController:
        """The chat that is open."""
        return self.localprobe.talk
