"""`localprobe tui`: the app, imported by name only here, as engines are: the core depends on no user interface."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from localprobe.cli.options import BUNDLED, Chosen, model_argument
from localprobe.engines.spec import ModelSpec


@click.command()
@model_argument
def tui(chosen: Chosen) -> None:
    """Open the app: chat with MODEL while steering it, probe it, view runs.

    MODEL is a short name, hub id, folder or GGUF file; the bundled one if not given. `localprobe` alone does the same.
    """
    run_app(chosen)


def run_app(spec: ModelSpec | None = None, **opening: Any) -> None:
    """Run the app until it is closed; `opening` are options of `localprobe chat`, for its first chat."""
    app: Any = import_module("localprobe_tui.app")
    app.run(spec or ModelSpec(BUNDLED), **opening)
