"""A chat on a server, which is sent whole with every turn."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from localprobe.chat_template import Message
from localprobe.checks import check_text
from localprobe.client.answers import CHAT, Answering, Asked, messages, seed_of
from localprobe.client.expressions import expression_of
from localprobe.client.listening import Listening
from localprobe.engine import Sampler, Steering
from localprobe.errors import UsageError
from localprobe.generation.answer import AnswerBuilder
from localprobe.generation.conversation import Conversation, SteeringOf
from localprobe.generation.events import Event
from localprobe.steering.knob import SteeredBy

if TYPE_CHECKING:
    from localprobe.client.model import RemoteModel


class RemoteConversation(Conversation):
    """Turns of a chat with a model on a server.

    Unlike a chat in this process, the steering of a turn acts on all of the chat that its positions name, earlier turns
    included, and it stays as it was until the answer ends.
    """

    live = False

    def __init__(self, model: RemoteModel, system: str = "") -> None:
        super().__init__(model.engine, system)
        self._model = model
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
        server, probes = self._model.server, tuple(map(self._model.kept.probe_of, self.watch))
        watch, seed = tuple(alarm.name for alarm in self.alarms), seed_of(key)
        listening = self._listening = Listening(
            [
                Answering(
                    server,
                    Asked(
                        self._model.info.model,
                        steering=expression,
                        probes=probes,
                        watch=watch,
                        sampler=sampler or Sampler(),
                        seed=seed,
                        tokens=tokens,
                        stops=tuple(stops),
                    ),
                    said,
                    CHAT,
                )
                for expression in expressions
            ]
        )
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
        raise UsageError("a server steers an answer as it began: the change waits for the next answer")

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
        return expression_of(steering.knobs, self._model.kept)
