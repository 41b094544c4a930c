"""A steered chat, line by line. It is saved where the app keeps its chats and can be continued there."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from localprobe.cli.output import say, say_error
from localprobe.cli.steering import Resolver, describe, say_events
from localprobe.errors import LocalprobeError, UsageError

if TYPE_CHECKING:
    from localprobe.chats.store import ChatWriter
    from localprobe.chats.turns import Reading, SteeredPart, Turn
    from localprobe.generation.events import Event
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HELP = """\
/steer EXPR   steer by an expression from here on, such as 0.2 empathy when calm > 2; alone: no longer
/watch PROBE  tell when a probe fires, such as refusal > fpr 0.01; alone: no longer
/dose 0.2     turn the knob: steer from here on at this dose (/alpha 20 gives the paper's coefficient instead)
/regenerate   answer the last message again
/continue     continue the last answer
/quit         leave, as at the end of the input"""


class PlainChat:
    """A chat, line by line. `options` are those of `localprobe chat`."""

    def __init__(self, resolver: Resolver, vector: Vector | None, options: dict[str, Any], writer: ChatWriter) -> None:
        from localprobe.chats.turns import Chat

        self._resolver, self._vector, self._options = resolver, vector, options
        self._model = model = resolver.model
        self._knobs: list[Knob] = []
        self._expressed = resolver.knobs(options["steering"])
        self._talk = model.conversation()
        self._talk.alarms = tuple(resolver.alarms(options["conditions"]))
        self._chat = Chat(model=model.info.model, system=options["system"])
        self._writer = writer
        if vector is not None:
            if options["dose"] is not None or options["alpha"] is not None:
                self._turn(dose=options["dose"], alpha=options["alpha"])
            elif vector.best is not None or options["layer"] is not None:
                self._turn(dose=0.0)
            else:
                self._turn(alpha=0.0)
            for warning in vector.check_scale(model.scale, [knob.layer for knob in self._knobs]):
                say(f"warning: {warning}", err=True)
        for knob in self._expressed:
            say(f"[{describe(model, knob)}]", err=True)

    @property
    def _steers(self) -> list[Knob]:
        """All knobs: those of expressions, then those of the vector that the chat was started with."""
        return [*self._expressed, *self._knobs]

    def run(self, lines: Iterator[str]) -> None:
        """Answer each line until the last, or `/quit`. An error is printed and does not end the chat."""
        while True:
            if sys.stdin.isatty():
                say("> ", nl=False, err=True)
            try:
                line = next(lines, None)
                if line is None or line.strip() == "/quit":
                    return
                self._line(line.strip())
            except LocalprobeError as error:
                say_error(error)

    def _line(self, line: str) -> None:
        command, _, value = line.partition(" ")
        match command:
            case "":
                return
            case "/dose" | "/alpha":
                self._turn(**{command[1:]: _number(value)})
            case "/steer":
                self._steer(value)
            case "/watch":
                self._talk.alarms = tuple(self._resolver.alarms([value])) if value.strip() else ()
            case "/regenerate":
                self._again()
            case "/continue":
                self._continue()
            case "/help":
                say(HELP, err=True)
            case _ if command.startswith("/"):
                raise UsageError(f"there is no command {command}; /help lists them")
            case _:
                self._say(line)

    def _steer(self, text: str) -> None:
        """Replace the steering expression by another; nothing changes if it cannot be read."""
        self._expressed = self._resolver.knobs([text]) if text.strip() else []
        for line in [describe(self._model, knob) for knob in self._expressed] or ["no steering expression"]:
            say(f"[{line}]", err=True)

    def _say(self, text: str) -> None:
        """Answer a message; it replaces a last one that got no answer."""
        from localprobe.chats.turns import Turn

        last = self._chat.path()[-1:]
        parent = last[0].parent if last and last[0].role == "user" else self._chat.leaf
        self._reply(self._chat.add(Turn("user", text, parent)))

    def _again(self) -> None:
        questions = [turn for turn in self._chat.path() if turn.role == "user"]
        if not questions:
            raise UsageError("there is no message to answer yet")
        self._reply(questions[-1])

    def _reply(self, question: Turn) -> None:
        from localprobe.chats.turns import Turn, generated_by
        from localprobe.generation.request import random_key

        answers = [turn for turn in self._chat.turns.values() if turn.parent == question.id]
        answer = Turn("assistant", "", question.id, reading=self._reading())
        answer.parts = [self._part(answer)]
        # As in the app: repeating the same knobs draws new random numbers, changing the knobs keeps them.
        again = sum(turn.parts[0].knobs == answer.parts[0].knobs for turn in answers)
        key = random_key(self._options["seed"], again)
        answer.details = {
            **generated_by(self._model.info),
            "temperature": self._options["temperature"],
            "key": key,
        }
        self._writer.write(self._chat, question)
        self._tell(question)
        self._answer(self._talk.reply, answer, key)

    def _continue(self) -> None:
        path = self._chat.path()
        if not path or path[-1].role != "assistant":
            raise UsageError("there is no answer to continue")
        answer = path[-1]
        part = self._part(answer)
        if answer.parts[-1].knobs != part.knobs:
            answer.parts.append(part)
        self._tell(answer)
        self._answer(self._talk.go_on, answer, f"{answer.details['key']} from {len(answer.pieces)}")

    def _tell(self, leaf: Turn) -> None:
        from localprobe.chat_template import Message

        system = [Message("system", self._chat.system)] if self._chat.system else []
        self._talk.messages = [*system, *(Message(turn.role, turn.content) for turn in self._chat.path(leaf.id))]

    def _turn(self, *, dose: float | None = None, alpha: float | None = None) -> None:
        """Set the strength of the knobs and print them."""
        if self._vector is None:
            raise UsageError("there is no direction to steer with: start with --vector FILE")
        layer, positions = self._options["layer"], self._options["positions"]
        self._knobs = self._model.knobs(self._vector, layer=layer, dose=dose, alpha=alpha, positions=positions)
        for knob in self._knobs:
            say(f"[{describe(self._model, knob)}]", err=True)

    def _reading(self) -> Reading | None:
        from localprobe.chats.turns import Reading

        return Reading.of(self._steers[-1].vector, self._steers[-1].read_at) if self._steers else None

    def _part(self, answer: Turn) -> SteeredPart:
        """The part of an answer that begins at its next token."""
        from localprobe.chats.turns import SteeredPart
        from localprobe.steering.knob import watch

        watched = watch(self._steers[-1].vector, answer.reading.layer) if self._steers and answer.reading else None
        start, knobs = len(answer.pieces), [knob for knob in self._steers if not knob.idle]
        return SteeredPart.of(knobs, self._model.scale, watched, start, start)

    def _answer(self, generate: Callable[..., Generator[list[Event]]], answer: Turn, key: str) -> None:
        """Print an answer while it is generated, and save it. Ctrl-C ends it; the text so far is saved."""
        from localprobe.chats.recorder import AnswerRecorder
        from localprobe.engine import Sampler
        from localprobe.generation.events import text_of
        from localprobe.steering.knob import SteeredBy

        self._talk.watch = (self._steers[-1].watch,) if self._steers else ()
        recorder, start, before = AnswerRecorder((answer,)), time.perf_counter(), len(answer.pieces)
        steps = generate(
            SteeredBy(tuple(self._steers)),
            sampler=Sampler(temperature=self._options["temperature"]),
            key=key,
            tokens=self._options["tokens"],
        )
        with _interrupted() as interrupted:
            try:
                for events in steps:
                    step = [*events, *(self._talk.stop() if interrupted() else [])]
                    if not step:
                        continue
                    self._chat.add(answer)
                    recorder.take(step, time.perf_counter())
                    say("".join(map(text_of, step)), nl=False)
                    if self._writer.due:
                        self._writer.write(self._chat, answer)
            finally:
                if answer.id in self._chat.turns:
                    self._writer.write(self._chat, answer)
        say()
        told = recorder.answers[0]
        say_events(told.gates, told.alerts, answer.pieces, first=before)
        count = len(answer.pieces) - before
        scores = [score for score in answer.scores[before:] if not math.isnan(score)]
        rate = count / (time.perf_counter() - start)
        mean = f"probe {sum(scores) / len(scores):+.2f} at layer {self._steers[-1].read_at}, " if scores else ""
        say(f"[{mean}{count} tokens, {rate:.1f} tok/s, {answer.reason}]", err=True)


@contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C instead of raising: an engine interrupted within a step could not continue. A kill, or a terminal
    that is closed, is noted too, and takes effect at the end of the block, when the answer is saved."""
    if threading.current_thread() is not threading.main_thread():  # nothing else can be interrupted
        yield lambda: False
        return
    noted: list[int] = []
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _ENDS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # as `nohup` has it
    for number in heard:
        signal.signal(number, lambda number, _: noted.append(number))
    try:
        yield lambda: bool(noted)
    finally:
        for number in heard:
            signal.signal(number, before[number])
        for late in noted:
            if late != signal.SIGINT:
                signal.raise_signal(late)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a strength: write /dose 0.2 or /alpha 20") from None
