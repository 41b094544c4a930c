"""`localprobe tui`: the app, imported by name only here, as engines are: the core depends on no user interface."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from localprobe.cli.options import BUNDLED, Chosen, model_argument, url_option
from localprobe.engines.spec import ModelSpec


@click.command()
@url_option
@model_argument
def tui(chosen: Chosen) -> None:
    """Open the app: chat with MODEL while steering it, probe it, view runs.

    MODEL is a short name, hub id, folder or GGUF file; the bundled one if not given. `localprobe` alone does the same.
    With --url, MODEL is one of a server's.
    """
    run_app(chosen)


def run_app(spec: ModelSpec | None = None, **opening: Any) -> None:
    """Run the app until it is closed; `opening` are options of `localprobe chat`, for its first chat."""
    app: Any = import_module("localprobe_tui.app")
    if isinstance(spec, Chosen) and spec.url:
        app.run(ModelSpec(spec.name if spec.named else ""), url=spec.url, **opening)
    else:
        app.run(spec or ModelSpec(BUNDLED), **opening)
