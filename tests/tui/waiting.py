"""Waiting for what a person would wait for, instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Static

from localprobe_tui.widgets.dialogs import Notice

PATIENCE = 60.0


async def wait_until(pilot: Pilot[Any], predicate: Callable[[], object], what: str = "") -> None:
    """Let the app run until `predicate` holds; AssertionError with the screen's text if it never does."""
    end = time.monotonic() + PATIENCE
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE:.0f} s for {what or 'it'}; on the screen:\n{screen(pilot.app)}")
        await pilot.pause(0.02)


def screen(shown: App[Any] | Pilot[Any]) -> str:
    """What a person sees, line by line."""
    app = shown.app if isinstance(shown, Pilot) else shown
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def message(pilot: Pilot[Any]) -> str:
    """What a dialog says, once it is there."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, Notice), "a message")
    assert isinstance(pilot.app.screen, Notice)
    return pilot.app.screen.message


async def dismiss(pilot: Pilot[Any]) -> None:
    """Close a dialog. What is typed before it is closed goes into it, and is lost."""
    await pilot.press("escape")
    await wait_until(pilot, lambda: not isinstance(pilot.app.screen, Notice), "the end of a message")


def text_of(widget: Widget) -> str:
    """The whole text of a Static, what is scrolled out of sight too."""
    assert isinstance(widget, Static)
    return str(widget.content)
