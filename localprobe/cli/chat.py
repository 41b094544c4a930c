"""`localprobe chat`: a steered chat in plain lines, for pipes and screen readers; on a terminal, the app."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import BUNDLED, Chosen, loading_options
from localprobe.engine import LoadOptions
from localprobe.errors import LocalprobeError, UsageError

if TYPE_CHECKING:
    from localprobe.decode import Event
    from localprobe.knob import Knob
    from localprobe.model import Model
    from localprobe.vectors import Vector

_HELP = """\
/dose 0.2     turn the knob: what follows is steered by it (/alpha 20 gives the paper's coefficient instead)
/regenerate   answer the last message again
/continue     go on with the last answer
/quit         leave; so does the end of the input"""


@click.command()
@click.argument("model", default=BUNDLED)
@click.option("--plain", is_flag=True, help="Plain lines, no screen: prompts from standard input, one a line.")
@click.option("--vector", "file", type=click.Path(path_type=Path), help="The direction to steer with.")
@click.option("--dose", type=float, help="Strength in residual lengths: alpha * |v| / median |h|. 0.25 is strong.")
@click.option("--alpha", type=float, help="Strength as the paper's coefficient, instead of a dose.")
@click.option("--layer", "-l", type=int, help="Layer to steer; the vector's own choice if not given.")
@click.option("--positions", type=click.Choice(["all", "prompt", "response"]), default="all", show_default=True)
@click.option("--system", default="", help="System prompt.")
@click.option("--tokens", type=click.IntRange(min=1), default=400, show_default=True, help="The most an answer has.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@loading_options
def chat(model: str, plain: bool, engine: str | None, options: LoadOptions, **how: Any) -> None:
    """Chat with MODEL, steered by a vector.

    On a terminal this opens the app. With --plain, or in a pipe, each line of standard input is a message; answers go
    to standard output, what is said about them to standard error.

    \b
    echo "My friend sounds sad. What do I do?" | localprobe chat --plain --vector empathy.safetensors --dose 0.2
    """
    from localprobe import knob, vectors

    if how["dose"] is not None or how["alpha"] is not None:
        knob.strength(how["alpha"], how["dose"])
        if how["file"] is None:
            raise UsageError("a strength needs a direction: give --vector FILE")
    vector = vectors.load(how["file"]) if how["file"] else None
    if not plain and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        from localprobe.cli.tui import run_app

        run_app(model, engine, options, how["file"], how["dose"])
        return
    with Chosen(model, engine, options).load() as loaded:
        PlainChat(loaded, vector, how).run(sys.stdin)


class PlainChat:
    """A chat in lines."""

    def __init__(self, model: Model, vector: Vector | None, how: dict[str, Any]) -> None:
        self._model, self._vector, self._how = model, vector, how
        self._knobs: list[Knob] = []
        self._talk = model.conversation(how["system"])
        self._answers = 0
        if vector is not None:
            for warning in vector.fit_to(model.info):
                click.echo(f"warning: {warning}", err=True)
            if how["dose"] is None and how["alpha"] is None:
                how["dose"] = 0.0
            self._turn(dose=how["dose"], alpha=how["alpha"])

    def run(self, lines: Iterator[str]) -> None:
        """Answer every line until they end, or one is `/quit`. An error is told, and the chat goes on."""
        while True:
            if sys.stdin.isatty():
                click.echo("> ", nl=False, err=True)
            line = next(lines, None)
            if line is None or line.strip() == "/quit":
                return
            try:
                self._line(line.strip())
            except LocalprobeError as error:
                click.echo(f"localprobe: {error}", err=True)

    def _line(self, line: str) -> None:
        command, _, value = line.partition(" ")
        match command:
            case "":
                return
            case "/dose" | "/alpha":
                self._turn(**{command[1:]: _number(value)})
            case "/regenerate":
                self._again()
            case "/continue":
                self._answer(self._talk.go_on)
            case "/help":
                click.echo(_HELP, err=True)
            case _ if command.startswith("/"):
                raise UsageError(f"there is no command {command}; /help lists them")
            case _:
                self._say(line)

    def _say(self, text: str) -> None:
        from localprobe.chat import Message

        self._talk.messages.append(Message("user", text))
        self._answer(self._talk.reply)

    def _again(self) -> None:
        messages = self._talk.messages
        if messages and messages[-1].role == "assistant":
            messages.pop()
        if not messages or messages[-1].role != "user":
            raise UsageError("nothing was said yet")
        self._answer(self._talk.reply)

    def _turn(self, *, dose: float | None = None, alpha: float | None = None) -> None:
        """Set the strength of the knob, and say what it is now."""
        if self._vector is None:
            raise UsageError("there is no direction to steer with: start with --vector FILE")
        layer, positions = self._how["layer"], self._how["positions"]
        self._knobs = self._model.knobs(self._vector, layer=layer, dose=dose, alpha=alpha, positions=positions)
        for turned in self._knobs:
            click.echo(
                f"[{turned.vector.concept} at layer {turned.layer}: dose {self._model.dose(turned):+.3f} "
                f"(alpha {turned.alpha:+.2f}), positions {positions}]",
                err=True,
            )

    def _answer(self, generate: Callable[..., Generator[list[Event]]]) -> None:
        """Print an answer as it comes; Ctrl-C ends it and keeps what was said."""
        from localprobe.decode import Finished, Score, Token
        from localprobe.engine import Sampler
        from localprobe.knob import steering, watch

        if self._knobs:
            self._talk.watch = (watch(self._knobs[-1].vector, self._knobs[-1].layer),)
        steps = generate(
            lambda prompt, start: steering(self._knobs, prompt, start),
            sampler=Sampler(temperature=self._how["temperature"]),
            key=f"seed {self._how['seed']} answer {self._answers}",
            tokens=self._how["tokens"],
        )
        self._answers += 1
        count, scores, reason, begun = 0, [], "", time.perf_counter()
        with _interrupted() as interrupted:
            for events in steps:
                for event in events + (self._talk.stop() if interrupted() else []):
                    if isinstance(event, Score):
                        scores.append(float(event.values[0]))
                        continue
                    click.echo(_printable(event.text), nl=False)
                    if isinstance(event, Token):
                        count += 1
                    elif isinstance(event, Finished):
                        reason = event.reason
        click.echo()
        rate = count / (time.perf_counter() - begun)
        reading = f"probe {sum(scores) / len(scores):+.2f} at layer {self._knobs[-1].layer}, " if scores else ""
        click.echo(f"[{reading}{count} tokens, {rate:.1f} tok/s, {reason}]", err=True)


@contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Within it Ctrl-C is only noted: an engine that is interrupted in a step could not go on."""
    noted: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    except ValueError:  # not the main thread: nobody can interrupt it
        yield lambda: False
        return
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no strength: write /dose 0.2 or /alpha 20") from None


def _printable(text: str) -> str:
    """Without control characters: a screen reader or a file has no use for them."""
    return "".join(each for each in text if each.isprintable() or each in "\n\t")
