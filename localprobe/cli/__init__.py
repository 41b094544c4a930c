"""The command line: one module per command, imported only when it runs."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from localprobe.cli.output import say, say_error, say_warnings
from localprobe.errors import LocalprobeError
from localprobe.store.text_files import argument
from localprobe.version import __version__

_COMMANDS = {
    "tui": ("tui", "Open the app: chat with a model while steering it. `localprobe` alone does the same."),
    "chat": ("chat", "Chat while steering: in the app, or line by line with --plain."),
    "demo": ("demo", "Find empathy in a small model, test the direction, and steer with it."),
    "models": ("models", "List models: names, which are on this disk, which fit in memory."),
    "doctor": ("doctor", "Check the engines: that capture and steering work, and that they agree."),
    "data": ("data", "Check contrast sets, and generate them."),
    "capture": ("capture", "Write the residuals of texts to a file."),
    "concept": ("concept", "Find the direction of a word: write pairs, fit and validate."),
    "fit": ("fit", "Fit a direction for every layer on contrast pairs."),
    "validate": ("validate", "Test a probe: intervals, baselines, permutations, and a verdict in words."),
    "compare": ("compare", "Compare models, engines and quantisations on the same texts."),
    "calibrate": ("calibrate", "Find the threshold of a probe that has a false-positive rate on neutral texts."),
    "correlate": ("correlate", "Correlate probe scores with rated behaviour."),
    "sweep": ("sweep", "Steer at many strengths, layers and prompts, and measure the answers."),
    "audit": ("audit", "Measure others' steered texts: success, coherence, degeneration."),
    "runs": ("runs", "List runs; show, export, merge or delete them."),
    "reproduce": ("reproduce", "The paper in one command: its tables and figures for your models."),
    "report": ("report", "Runs as one HTML page, as JSON or CSV."),
    "steer": ("steer", "Answer a prompt while steering: add, ablate or cap directions."),
    "generate": ("steer", "Answer a prompt, steered or not, and watch for probes."),
    "serve": ("serve", "Serve a model over OpenAI's API, with steering and probes in every request."),
    "lens": ("lens", "Show what a model would say next after every layer, beside a probe's scores."),
    "vector": ("vector", "Inspect vectors, import them, add, subtract, scale and orthogonalise them."),
    "bake": ("bake", "Remove a direction from a model's weights, and write them as a folder."),
    "export": ("export", "Write a vector for llama.cpp, repeng or numpy."),
}
"""Command -> (module of this package, one line of help): `--help` lists them without importing any."""


class _Commands(click.Group):
    """Commands that are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"localprobe.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Its warnings are lines; arguments in backticks in them and in its error become flags."""

        def worded(message: object) -> str:
            command = self.get_command(ctx, ctx.invoked_subcommand) if ctx.invoked_subcommand else None
            return in_flags(str(message), _flags(command) if command else {})

        with say_warnings(worded):
            try:
                return super().invoke(ctx)
            except LocalprobeError as error:
                error.args = (worded(error),)
                raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            matches = difflib.get_close_matches(args[0], _COMMANDS, 1)
            hint = f"; did you mean {matches[0]!r}?" if matches else ""
            ctx.fail(f"no command {args[0]!r}{hint} Commands: {', '.join(_COMMANDS)}")
        return super().resolve_command(ctx, args)


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """Replace arguments in backticks by flags: `dose`, as the core calls it, becomes --dose. Other words stay."""
    return re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), message)


def _flags(command: click.Command) -> dict[str, str]:
    """Argument -> flag, of a command and its subcommands."""
    flags: dict[str, str] = {}
    for subcommand in getattr(command, "commands", {}).values():
        flags |= _flags(subcommand)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name:
            flags[parameter.name] = max(parameter.opts, key=len)
    return flags


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="localprobe")
@click.pass_context
def root(context: click.Context) -> None:
    """Find, test and steer a concept inside a language model on your own machine. Without a command: the app."""
    if context.invoked_subcommand is not None:
        return
    if all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # Textual draws on standard error
        from localprobe.cli.tui import run_app

        run_app()
    else:
        say(context.get_help())


def main() -> None:
    """Run the command line. A LocalprobeError is one line and status 2; Ctrl-C is status 130; a traceback is a bug."""
    status = _status()
    sys.exit(status if isinstance(status, int) else 0)


def _status() -> Any:
    """Run the command of `sys.argv`; its exit status."""
    try:
        sys.argv[1:] = map(argument, sys.argv[1:])
        return root.main(prog_name="localprobe", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(shown.getvalue(), err=True, nl=False)
        return 2
    except LocalprobeError as error:
        say_error(error)
        return 2
    except (KeyboardInterrupt, click.Abort):
        say("localprobe: stopped", err=True)
        return 130
    except BrokenPipeError:  # the reader of our output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
