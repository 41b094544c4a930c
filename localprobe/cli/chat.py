"""`localprobe chat`: a steered chat, line by line for pipes and screen readers, or in the app on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, loaded_with, model_argument, url_option
from localprobe.cli.output import say
from localprobe.cli.steering import Resolver, check_texts, loaded_for, positions_option, steering_options
from localprobe.errors import LocalprobeError, UsageError

if TYPE_CHECKING:
    from localprobe.chats.store import ChatWriter


@click.command()
@click.option("--plain", is_flag=True, help="No full-screen app: prompts from standard input, one per line.")
@click.option("--vector", help="The direction to steer with: a file, or a name.")
@click.option("--dose", type=float, help="Strength in residual lengths: alpha * |v| / median |h|. 0.25 is strong.")
@click.option("--alpha", type=float, help="Strength as the paper's coefficient, instead of a dose.")
@click.option("--layer", "-l", type=int, help="Layer to steer; the vector's own choice if not given.")
@positions_option
@steering_options
@click.option("--system", default="", help="System prompt.")
@click.option(
    "--tokens", type=click.IntRange(min=1), default=400, show_default=True, help="The most tokens of an answer."
)
@click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@url_option
@model_argument
def chat(chosen: Chosen, plain: bool, **options: Any) -> None:
    """Chat with MODEL, steered by a vector. Without MODEL: the model that the vector was fitted on, or the bundled one.

    On a terminal this opens the app. With --plain, or in a pipe, each line of standard input is a message; answers go
    to standard output, notes about them to standard error. The chat is saved and can be continued in the app.
    With --url, MODEL is one of a server's, and names of vectors are the server's too.

    \b
    echo "My friend sounds sad. What do I do?" | localprobe chat --plain --vector empathy.safetensors --dose 0.2
    """
    from localprobe.probing.named import origin_of
    from localprobe.steering import knob
    from localprobe.steering.places import Positions

    if options["dose"] is not None or options["alpha"] is not None:
        knob.strength(options["alpha"], options["dose"])
        if options["vector"] is None:
            raise UsageError("a strength needs a direction: give a `vector`")
    Positions.parse(options["positions"])
    names = check_texts(options["steering"], options["conditions"])
    if not plain and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        from localprobe.cli.tui import run_app

        first = options["vector"] or (names[0] if names else None)
        run_app(chosen if chosen.url else chosen.of(origin_of(first) if first else None), **options)
        return
    from localprobe.cli.plain_chat import PlainChat
    from localprobe.store.text_files import InputLines

    if options["vector"] is None:
        with loaded_for(chosen, options["steering"], options["conditions"]) as resolver:
            PlainChat(resolver, None, options, _writer()).run(InputLines())
        return
    with loaded_with(chosen, options["vector"]) as (model, vector):
        PlainChat(Resolver(model), vector, options, _writer()).run(InputLines())


def _writer() -> ChatWriter:
    """Saves the chat where the app keeps its chats; if that fails, warns and saves nothing."""
    from localprobe.chats.store import Chats, ChatWriter

    try:
        return ChatWriter(Chats())
    except LocalprobeError as error:
        say(f"warning: {error}. This chat will not be saved.", err=True)
        return ChatWriter(None)
