"""A chat on a server, which is sent whole with every turn."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace

from localprobe.chat_template import Message
from localprobe.checks import check_text
from localprobe.client.answers import CHAT, Answering, Asked, messages, seed_of
from localprobe.client.expressions import expression_of
from localprobe.client.listening import Listening
from localprobe.client.vectors import ServerVectors
from localprobe.engine import Engine, Sampler, Steering, Watch
from localprobe.errors import LocalprobeError, UsageError
from localprobe.generation.answer import AnswerBuilder
from localprobe.generation.conversation import Conversation, SteeringOf
from localprobe.generation.events import Event
from localprobe.steering.knob import Knob, SteeredBy


class RemoteConversation(Conversation):
    """Turns of a chat with a model on a server.

    Unlike a chat in this process, the steering of a turn acts on all of the chat that its positions name, earlier turns
    included.
    """

    def __init__(self, engine: Engine, kept: ServerVectors, system: str = "", watch: Sequence[Watch] = ()) -> None:
        """`engine` says which model it is with; `kept` are the vectors of its server."""
        super().__init__(engine, system, watch)
        self._kept = kept
        self._listening: Listening | None = None
        self._texts: list[str] = []  # of each row of the last answer

    def reply(
        self,
        steering: SteeringOf | None = None,
        *,
        beside: bool = False,
        sampler: Sampler | None = None,
        key: str = "0",
        tokens: int = 400,
        stops: Sequence[str] = (),
    ) -> Generator[list[Event]]:
        check_text("the chat", *(message.content for message in self.messages))
        said = messages(*((message.role, message.content) for message in self.messages))
        expressions = [self._expression(steering), *([""] if beside else [])]
        probes = tuple(map(self._kept.probe_of, self.watch))
        asked = Asked(
            self.engine.info.model,
            probes=probes,
            watch=tuple(alarm.name for alarm in self.alarms),
            sampler=sampler or Sampler(),
            seed=seed_of(key),
            tokens=tokens,
            stops=tuple(stops),
        )
        rows = [replace(asked, steering=expression) for expression in expressions]
        listening = self._listening = Listening([Answering(self._kept.server, row, said, CHAT) for row in rows])
        yield from self._heard(listening)

    def go_on(
        self, steering: SteeringOf | None = None, *, sampler: Sampler | None = None, key: str = "0", tokens: int = 400
    ) -> Generator[list[Event]]:
        raise UsageError("a server continues no answer: ask it to go on, in a message")
        yield

    @property
    def answers(self) -> list[str]:
        return list(self._texts)

    def take(self, row: int) -> None:
        self.messages[-1] = Message("assistant", self._texts[row])

    def steer(self, steering: Steering) -> None:
        raise UsageError("a server is steered by knobs, not by terms: `turn` them")

    def turn(self, knobs: Sequence[Knob], tell: Callable[[str], None]) -> tuple[int, list[Knob]] | None:
        if self._listening is None:
            return None
        try:
            return self._listening.answers[0].turn(expression_of(knobs, self._kept)), list(knobs)
        except LocalprobeError as error:
            tell(str(error))
            return None

    def stop(self) -> list[Event]:
        events = self._listening.stop() if self._listening else []
        self._add(events)
        return events

    def close(self) -> None:
        if self._listening:
            self._listening.stop()

    def _heard(self, listening: Listening) -> Generator[list[Event]]:
        """Pass the events on, and keep the texts."""
        self._rows, self._said = [AnswerBuilder() for _ in listening.answers], ""
        self.messages.append(Message("assistant", ""))
        try:
            with closing(listening.steps()) as steps:
                for events in steps:
                    self._add(events)
                    self.prompt, self.reused = listening.answers[0].prompt, listening.answers[0].reused
                    yield events
        finally:
            self._texts = [row.text for row in self._rows]
            self.take(0)

    def _expression(self, steering: SteeringOf | None) -> str:
        if steering is None:
            return ""
        if not isinstance(steering, SteeredBy):
            raise UsageError("a server is steered by knobs, not by terms: give SteeredBy(knobs)")
        return expression_of(steering.knobs, self._kept)
