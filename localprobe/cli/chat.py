"""`localprobe chat`: a steered chat in plain lines, for pipes and screen readers; on a terminal, the app."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, model_argument
from localprobe.errors import LocalprobeError, UsageError

if TYPE_CHECKING:
    from localprobe.chats.writer import ChatWriter


@click.command()
@click.option("--plain", is_flag=True, help="Plain lines, no screen: prompts from standard input, one a line.")
@click.option("--vector", type=click.Path(path_type=Path), help="The direction to steer with.")
@click.option("--dose", type=float, help="Strength in residual lengths: alpha * |v| / median |h|. 0.25 is strong.")
@click.option("--alpha", type=float, help="Strength as the paper's coefficient, instead of a dose.")
@click.option("--layer", "-l", type=int, help="Layer to steer; the vector's own choice if not given.")
@click.option("--positions", type=click.Choice(["all", "prompt", "response"]), default="all", show_default=True)
@click.option("--system", default="", help="System prompt.")
@click.option("--tokens", type=click.IntRange(min=1), default=400, show_default=True, help="The most an answer has.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@model_argument
def chat(chosen: Chosen, plain: bool, **how: Any) -> None:
    """Chat with MODEL, steered by a vector. Without MODEL: the one that the vector was fitted on, or the bundled one.

    On a terminal this opens the app. With --plain, or in a pipe, each line of standard input is a message; answers go
    to standard output, what is said about them to standard error. The chat is kept, and found again in the app.

    \b
    echo "My friend sounds sad. What do I do?" | localprobe chat --plain --vector empathy.safetensors --dose 0.2
    """
    from localprobe.steering import knob
    from localprobe.vectors import files as vector_files

    if how["dose"] is not None or how["alpha"] is not None:
        knob.strength(how["alpha"], how["dose"])
        if how["vector"] is None:
            raise UsageError("a strength needs a direction: give --vector FILE")
    vector = vector_files.load(how["vector"]) if how["vector"] else None
    if vector is not None and how["layer"] is not None:
        vector.layer(how["layer"])
    chosen = chosen.of(vector.origin if vector else None)
    if not plain and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        from localprobe.cli.tui import run_app

        run_app(chosen, **how)
        return
    from localprobe.cli.plain_chat import PlainChat

    with chosen.load() as model:
        PlainChat(model, vector, how, _writer()).run(sys.stdin)


def _writer() -> ChatWriter:
    """Keeps the chat among the app's; where that cannot be, it is said, and the chat goes on."""
    from localprobe.chats.store import Chats
    from localprobe.chats.writer import ChatWriter

    try:
        return ChatWriter(Chats())
    except LocalprobeError as error:
        click.echo(f"warning: {error}. This chat will not be kept.", err=True)
        return ChatWriter(None)
