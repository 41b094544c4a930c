"""`localprobe tui`: the app. It is found by name when it is wanted, as engines are: the core knows of no screen."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from localprobe.cli.options import BUNDLED, loading_options
from localprobe.engine import LoadOptions


@click.command()
@click.argument("model", default=BUNDLED)
@loading_options
def tui(model: str, engine: str | None, options: LoadOptions) -> None:
    """Open the app: chat with MODEL while steering it, probe it, look at runs.

    MODEL is a short name, hub id, folder or GGUF file; the bundled one if not given. `localprobe` alone does the same.
    """
    run_app(model, engine, options)


def run_app(model: str = BUNDLED, engine: str | None = None, options: LoadOptions | None = None, **how: Any) -> None:
    """Run the app until it is left; `how` is what its chat begins with, the options of `localprobe chat`."""
    app: Any = import_module("localprobe_tui.app")
    app.run(model, engine, options, **how)
