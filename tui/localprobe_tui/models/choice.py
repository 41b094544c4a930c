"""Which model to load, and on which engine."""

from __future__ import annotations

from typing import Any

from textual.app import App

from localprobe.engines.spec import ModelSpec
from localprobe_tui.widgets.dialogs import Choose


async def ask(app: App[Any]) -> ModelSpec | None:
    """Ask the user for a model and an engine; None if cancelled."""
    from localprobe import discovery
    from localprobe.models.catalogue import CATALOGUE

    names = [(f"{entry.name}   {entry.about}", entry.name) for entry in CATALOGUE.values()]
    hint = "type to find, or a hub id, a folder or a GGUF file"
    name = await app.push_screen_wait(Choose("Model", names, hint, free=True))
    if name is None:
        return None
    engines = [(name, name) for name in discovery.names() if discovery.installed(name)]
    engine = await app.push_screen_wait(Choose("Engine", [("the best for this machine", ""), *engines]))
    return None if engine is None else ModelSpec(name, engine or None)
