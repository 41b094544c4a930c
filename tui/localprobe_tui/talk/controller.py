"""The chat controller: the open chat, its knobs, and the answer that is being generated.

It does not depend on widgets: a screen registers a listener. Answers are stored while they stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Literal, TypeAlias

from localprobe.chats.recorder import AnswerRecorder
from localprobe.chats.store import ChatWriter
from localprobe.chats.turns import Chat, KnobRecord, Reading, SteeredPart, Turn
from localprobe.errors import UsageError
from localprobe.generation.request import random_key
from localprobe_tui.talk.alarms import PanelAlarm
from localprobe_tui.talk.notices import Alerts, Notices
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.talk.running import WAITS, Running
from localprobe_tui.talk.sampling import Sampling

if TYPE_CHECKING:
    from localprobe.chats.store import Chats
    from localprobe.engine import Watch
    from localprobe.generation.conversation import Conversation
    from localprobe.generation.events import Event
    from localprobe.model import Model
    from localprobe.steering.gates import Alarm
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector
    from localprobe_tui.engine.session import EngineSession

Applies: TypeAlias = Literal["next token", "next answer"]


class ChatController:
    """One chat at a time on the session's model. Raises LocalprobeError for what a user cannot do now."""

    def __init__(self, session: EngineSession, chats: Chats | None) -> None:
        self.chat = Chat()
        self.knobs: list[PanelKnob] = []
        """The knobs on the panel, from the top."""
        self.sampling = Sampling()
        self.split = False
        """Whether an unsteered answer is generated beside the steered one."""
        self.applies: Applies = "next token"
        """When turning a knob during an answer takes effect."""
        self.answering: tuple[Turn, ...] = ()
        """The answers that are being generated."""
        self.rate = 0.0
        """Tokens per second of each row of the last answer."""
        self.first_token = 0.0
        """Seconds from the question to its first token."""
        self.used = 0
        """Context positions that the chat uses."""
        self.watched: int | None = None
        """The layer that answers are scored at; None means a little above the first knob's layer."""
        self.alarms: list[PanelAlarm] = []
        """What is watched for, from the next answer on."""
        self.vectors: list[Vector] = []
        """Directions that were loaded or fitted, which names stand for where the library has none."""
        self.notices = Notices()
        """Lines that the screen shows the user."""
        self.writer = ChatWriter(chats)
        self.session = session
        """The engine."""
        self._listeners: list[Callable[[], None]] = []
        self._conversation: Conversation | None = None
        self._stopping = False
        self._turn_to: list[Knob] | None = None  # new knobs for the engine's thread
        self._running: Running | None = None  # the knobs of the answer that is being generated

    @property
    def model(self) -> Model | None:
        """The session's model."""
        return self.session.model

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change of the chat. It must be quick: a token is a change."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Remove a listener."""
        self._listeners.remove(listener)

    async def send(self, text: str) -> None:
        """Send a message and generate the answer. It replaces a last message that got no answer."""
        self.chat.model = self.session.free().info.model
        last = self.chat.path()[-1:]
        parent = last[0].parent if last and last[0].role == "user" else self.chat.leaf
        await self._answer(self.chat.add(Turn("user", text, parent)))

    async def regenerate(self) -> None:
        """Answer the last message again; the old answer stays beside the new one."""
        self.session.free()
        await self._answer(self._last_question())

    async def edit(self, text: str) -> None:
        """Replace the last message and generate its answer; the old message stays as a sibling."""
        self.session.free()
        await self._answer(self.chat.add(Turn("user", text, self._last_question().parent)))

    async def go_on(self) -> None:
        """Generate more of the last answer."""
        path = self.chat.path()
        if len(path) < 2 or path[-1].role != "assistant":
            raise UsageError("there is no answer to continue")
        await self._answer(path[-2], path[-1])

    def stop(self) -> None:
        """End the answer after the current token; the text so far stays."""
        self._stopping = True

    def changed(self) -> None:
        """React to a changed knob or setting; a running answer follows from its next token if `applies` says so."""
        if self.answering and self._running is not None and self.applies == "next token":
            self._turn_to = self._running.turn(self.knobs, self.notices.add)
        self._tell()

    def add(self, vector: Vector) -> tuple[str, ...]:
        """Put a vector on the panel; returns warnings. VectorError if it does not fit the model."""
        warnings = vector.notices
        knob = PanelKnob.of(vector)
        if self.model is not None:
            warnings = vector.check_compatible(self.model.info)
            knob.fit_to(self.model.info)
            if knob.layer is not None:
                warnings += vector.check_scale(self.model.scale, [knob.layer])
        self.knobs.append(knob)
        self._tell()
        return warnings

    @property
    def last(self) -> Turn | None:
        """The answer at the end of the chat; the steered one while two are generated."""
        if self.answering:
            return self.answering[0]
        path = self.chat.path()
        return path[-1] if path and path[-1].role == "assistant" else None

    def reading(self) -> Reading | None:
        """What answers are scored with: the first knob's direction."""
        return self.knobs[0].reading(self.watched) if self.knobs else None

    def new(self, system: str | None = None) -> None:
        """Begin a new chat, with the current system prompt unless another is given."""
        self.open(Chat(system=self.chat.system if system is None else system))

    def open(self, chat: Chat) -> None:
        """Show another chat."""
        if self.answering:
            raise UsageError("an answer is being generated: stop it first")
        self.flush()
        self.chat, self.used = chat, 0
        self._tell()

    def choose(self, turn: Turn) -> None:
        """Switch to one of several answers, or of several versions of a message."""
        if self.answering:
            raise UsageError("an answer is being generated: stop it first")
        last = self.chat.path()[-1:]
        self.chat.show(turn)
        if last and turn.beside == last[0].id:
            self._take_beside(turn)
        self.flush()
        self._tell()

    def flush(self) -> None:
        """Write unsaved turns. Called on every exit, with or without an event loop."""
        if self.chat.turns:
            self._save(*self.answering)

    def keep(self) -> None:
        """Write every turn of the chat."""
        self._save(*self.chat.turns.values())

    def _take_beside(self, turn: Turn) -> None:
        """Continue the cache from the other row of the last batch, if it still holds it."""
        talk = self._conversation
        if talk is not None and turn.content in talk.answers:
            talk.take(talk.answers.index(turn.content))

    async def _answer(self, question: Turn, continued: Turn | None = None) -> None:
        model = self.session.free()
        with self.session.reserved("answering in the chat"):
            self._stopping, self._turn_to = False, None
            self._running = Running(model, self.knobs, [alarm.alarm(model) for alarm in self.alarms])
            knobs = self._running.knobs
            turns = (continued,) if continued else self._turns(question, knobs, model)
            recorder = AnswerRecorder(turns)
            if continued:
                continued.reason = ""
                recorder.mark(self._part(continued, knobs, model))
            for turn in reversed(turns):
                self.chat.add(turn)
            self.answering = turns
            self._save(question, *turns)
            self._tell()
            steps = self._steps(model, turns, knobs, self._running.alarms, continued is not None)
            alerts = Alerts(turns, self.notices)
            self.notices.begin()
            try:
                async with aclosing(self.session.iterate(lambda: steps)) as stream:
                    async for at, events, steered in stream:
                        if steered is not None:
                            recorder.mark(self._part(turns[0], steered, model, live=True))
                        if events:
                            recorder.take(events, at)
                            alerts.take(events)
                            self.rate, self.first_token = recorder.rate, recorder.first_token
                        self._tell()
                        if self.writer.due:
                            self._save(*turns)
            finally:
                self.answering = ()
                self._end(turns, question)
                self._tell()

    def _turns(self, question: Turn, knobs: list[Knob], model: Model) -> tuple[Turn, ...]:
        """The answers to generate: one, or a steered one and an unsteered one beside it."""
        records = tuple(KnobRecord.of(knob, model.scale) for knob in knobs)
        read = self.reading()
        steered = Turn("assistant", "", question.id, parts=[SteeredPart(0, records)], reading=read)
        steered.details = self._details(model, question, steered)
        plain_details = dict(steered.details)
        steered.parts = [self._part(steered, knobs, model)]
        if not self.split:
            return (steered,)
        plain = Turn("assistant", "", question.id, parts=[SteeredPart(0)], reading=read, details=plain_details)
        plain.beside, steered.beside = steered.id, plain.id
        return steered, plain

    def _details(self, model: Model, question: Turn, answer: Turn) -> dict[str, object]:
        """The details of an answer. Repeating the same knobs draws new random numbers, other knobs reuse them."""
        before = [turn for turn in self.chat.turns.values() if turn.parent == question.id]
        again = sum(turn.parts[0].knobs == answer.parts[0].knobs for turn in before)
        return {**self.sampling.details(model.info), "key": random_key(self.sampling.seed, again)}

    def _steps(
        self, model: Model, turns: Sequence[Turn], knobs: list[Knob], alarms: Sequence[Alarm], continued: bool
    ) -> Iterator[tuple[float, list[Event], list[Knob] | None]]:
        """Yield (time, events of a step, changed knobs or None), in the engine's thread."""
        from localprobe.chat_template import Message
        from localprobe.generation.events import Token
        from localprobe.steering.knob import SteeredBy

        if self._conversation is None or self._conversation.engine is not model.engine:
            self._conversation = model.conversation()
        talk, answer = self._conversation, turns[0]
        path = self.chat.path(answer.id if continued else answer.parent)
        system = [Message("system", self.chat.system)] if self.chat.system else []
        talk.messages = [*system, *(Message(turn.role, turn.content) for turn in path)]
        talk.watch, talk.alarms = self._watch(answer.reading), tuple(alarms)

        steer = SteeredBy(tuple(knobs))
        sampler, key, tokens = self.sampling.sampler(), str(answer.details["key"]), self.sampling.tokens
        if continued:
            key += f" from {len(answer.pieces)}"
            steps = talk.go_on(steer, sampler=sampler, key=key, tokens=tokens)
        else:
            steps = talk.reply(steer, beside=len(turns) > 1, sampler=sampler, key=key, tokens=tokens)
        turned: tuple[int, list[Knob]] | None = None  # other knobs, and the first token that they act on
        drawn = 0
        with closing(steps):
            for events in steps:
                drawn += sum(isinstance(event, Token) and event.row == 0 for event in events)
                self.used = talk.prompt + len(answer.pieces)
                yield time.perf_counter(), events, None
                if self._stopping:
                    yield time.perf_counter(), talk.stop(), None
                elif (new_knobs := self._turn_to) is not None:
                    self._turn_to = None
                    turned = talk.turn(new_knobs, self._waits) or turned
                if turned is not None and drawn >= turned[0]:
                    yield time.perf_counter(), [], turned[1]
                    turned = None

    def _waits(self, why: str) -> None:
        """Tell the user of a change in mid-answer that has to wait for the next one."""
        self.notices.add(f"{why}. {WAITS}")

    def _watch(self, read: Reading | None) -> tuple[Watch, ...]:
        from localprobe.steering.knob import watch

        probe = self._probe(read)
        return (watch(probe, read.layer),) if read and probe else ()

    def _part(self, turn: Turn, knobs: list[Knob], model: Model, *, live: bool = False) -> SteeredPart:
        """The part of an answer that begins at its next token. A knob turned during the answer (`live`) already affects
        the score of the token before."""
        start = len(turn.pieces)
        if beyond := [warning for knob in self.knobs if (warning := knob.warning())]:
            turn.details["beyond"] = beyond
        watched = next(iter(self._watch(turn.reading)), None)
        return SteeredPart.of(knobs, model.scale, watched, start, max(0, start - live))

    def _probe(self, read: Reading | None) -> Vector | None:
        """The vector that a reading is of."""
        for knob in self.knobs:
            if read and knob.vector.concept == read.concept and read.layer in knob.vector.directions:
                return knob.vector
        return None

    def _end(self, turns: Sequence[Turn], question: Turn) -> None:
        """Save the answers, and remove those that never began."""
        for turn in turns:
            if turn.pieces or turn.reason:
                turn.details["tokens_per_second"] = round(self.rate, 2)
                continue
            del self.chat.turns[turn.id]
            self.chat.leaf = question.id
            self.writer.remove(turn)
        self._save(*(turn for turn in turns if turn.id in self.chat.turns))

    def _last_question(self) -> Turn:
        for turn in reversed(self.chat.path()):
            if turn.role == "user":
                return turn
        raise UsageError("there is no message to answer yet")

    def _save(self, *turns: Turn) -> None:
        self.writer.write(self.chat, *turns)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
