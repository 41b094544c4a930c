"""Which model to load, and on which engine."""

from __future__ import annotations

from typing import Any

from textual.app import App

from localprobe.engines.spec import ModelSpec
from localprobe_tui.widgets.dialogs import Choose


async def ask(app: App[Any]) -> ModelSpec | None:
    """The model and engine that the user chooses; None if the user leaves."""
    from localprobe import discovery
    from localprobe.models.catalogue import CATALOGUE

    known = [(f"{entry.name}   {entry.about}", entry.name) for entry in CATALOGUE.values()]
    hint = "type to find, or a hub id, a folder or a GGUF file"
    name = await app.push_screen_wait(Choose("Model", known, hint, free=True))
    if name is None:
        return None
    here = [(each, each) for each in discovery.names() if discovery.installed(each)]
    engine = await app.push_screen_wait(Choose("Engine", [("the best for this machine", ""), *here]))
    return None if engine is None else ModelSpec(name, engine or None)
