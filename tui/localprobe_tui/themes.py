"""Themes of the app: dark, light, and one of high contrast. NO_COLOR, which Textual obeys, leaves out all colour."""

from __future__ import annotations

from textual.theme import Theme

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
