"""A chat that remembers the steering of every token that it holds.

The next turn reuses the cache of the last one as far as both the tokens and the steering that each was computed under
are the same. If the cache is gone, a prefill repeats the steering that each token had.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Message, Rendered, render, render_answer
from localprobe.checks import check_text
from localprobe.engine import Engine, IntArray, Sampler, Steering, Watch
from localprobe.errors import UsageError
from localprobe.generation.answer import AnswerBuilder
from localprobe.generation.decode import Decoding, Request
from localprobe.generation.events import Event, Token
from localprobe.generation.place import PromptPlace
from localprobe.generation.reuse import common_prefix, reusable
from localprobe.steering.gates import Alarm
from localprobe.steering.history import ended
from localprobe.steering.knob import Knob, SteeredBy
from localprobe.steering.positions import Place

_MARK = "\ue000answer\ue000"  # private use: no template or user writes it
_TAIL = 4  # ids of context needed to decode the next one
SteeringOf = Callable[[Place], Steering]
"""Where the prompt of a turn stands in the row -> the terms of the turn."""


class Conversation:
    """Turns of a chat with one model.

    `say` starts an answer and yields its events; `steer` changes the steering during an answer, from the next token
    on. `messages` is always up to date, including answers that were stopped or interrupted. `messages` and `watch`
    may be replaced between answers: the part of the cache that is still valid is reused.
    """

    def __init__(self, engine: Engine, system: str = "", watch: Sequence[Watch] = ()) -> None:
        self.engine = engine
        self.watch = tuple(watch)
        """The projections that answers are scored by."""
        self.alarms: tuple[Alarm, ...] = ()
        """The probes that are watched for."""
        self.place: Place = Place(0)
        """Where the prompt of the last turn stands."""
        self.messages: list[Message] = [Message("system", system)] if system else []
        self._decoding: Decoding | None = None
        self._ids: list[int] = []  # the last prompt and its answer, as sampled
        self._prompt = ""  # the last prompt's text
        self._turn = 0  # index in `_ids` where the last turn began
        self._before: list[Message] | None = None  # messages before the last turn
        self._steering: Steering = ()  # of the positions of `_ids`, run or still pending
        self._rows: list[AnswerBuilder] = []  # answers being generated
        self._said = ""  # the text that they continue
        self._text = ""  # text of the last answer
        self._held: list[tuple[list[int], Steering, str]] = []  # (ids, steering, text) of each row of the last answer
        self.prompt = 0
        """Number of positions of the last prompt."""
        self.reused = 0
        """Number of those that came from the cache."""

    def say(
        self,
        content: str,
        steering: SteeringOf | None = None,
        *,
        sampler: Sampler | None = None,
        key: str = "0",
        tokens: int = 400,
        stops: Sequence[str] = (),
    ) -> Iterator[Event]:
        """Add a user's message and generate the answer."""
        self.messages.append(Message("user", content))
        return _flat(self.reply(steering, sampler=sampler, key=key, tokens=tokens, stops=stops))

    def regenerate(
        self, steering: SteeringOf | None = None, *, sampler: Sampler | None = None, key: str = "0", tokens: int = 400
    ) -> Iterator[Event]:
        """Drop the last answer and generate another."""
        if self.messages and self.messages[-1].role == "assistant":
            self.messages.pop()
        return _flat(self.reply(steering, sampler=sampler, key=key, tokens=tokens))

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
        """Answer the last message, yielding the events of each step together.

        With `beside`, row 1 of the same batch answers the same messages with the same random numbers and no steering
        at any position; the chat continues from row 0, or from row 1 after `take(1)`.
        """
        check_text("the chat", *(message.content for message in self.messages))
        if self.messages[:-1] == self._before:  # a repeated turn is steered anew, its message included
            self._ids = self._ids[: self._turn]
        ids, start = self._tokens()
        self._prompt, self._turn = render(self.engine.info, self.messages).text, start
        self._before = self.messages[:-1]
        self.place = PromptPlace.of(self.engine, ids, start, self.messages[-1].content)
        terms = (*ended(self._steering, start), *(steering(self.place) if steering else ()))
        sampler = sampler or Sampler()
        requests = [
            Request(ids, row, sampler, key, tokens, tuple(stops)) for row in ((terms, ()) if beside else (terms,))
        ]
        yield from self._generate(requests)

    def go_on(
        self, steering: SteeringOf | None = None, *, sampler: Sampler | None = None, key: str = "0", tokens: int = 400
    ) -> Generator[list[Event]]:
        """Continue the last answer, yielding the events of each step together.

        `key` should differ from that of the answer, or its random numbers are repeated. UsageError if the last
        message is not an answer.
        """
        if not self.messages or self.messages[-1].role != "assistant":
            raise UsageError("there is no answer to continue")
        check_text("the chat", *(message.content for message in self.messages))
        said = self.messages[-1].content
        if self._ids and said == self._text:
            ids = np.array(self._ids, dtype=np.int32)
        else:
            continued = render_answer(self.engine.info, self.messages)
            ids = encode_chat(self.engine, continued.rendered)
            self._prompt, self._turn = continued.rendered.text[: continued.start], 0
            self._before = None
        start = min(
            common_prefix(self._ids, ids), len(ids) - 1
        )  # the last position is run again to predict the next token
        asked = next((message.content for message in self.messages[::-1] if message.role == "user"), "")
        self.place = PromptPlace.of(self.engine, ids, start, asked, continued=True)
        terms = (*ended(self._steering, start), *(steering(self.place) if steering else ()))
        yield from self._generate([Request(ids, terms, sampler or Sampler(), key, tokens)], said)

    @property
    def answers(self) -> list[str]:
        """The answer of each row of the last batch."""
        return [text for _, _, text in self._held]

    def take(self, row: int) -> None:
        """Continue the chat from the answer of another row of the last batch."""
        self._ids, self._steering, self._text = self._held[row]
        self.messages[-1] = Message("assistant", self._text)

    def steer(self, steering: Steering) -> None:
        """Change the steering of the answer that is being generated, from the next token on."""
        if self._decoding and not self._decoding.done:
            self._decoding.steer(0, steering)

    def turn(self, knobs: Sequence[Knob], tell: Callable[[str], None]) -> tuple[int, list[Knob]] | None:
        """Steer the answer that is being generated by other knobs: the index of the first token that is drawn under
        them, and those that act. `tell` is called with why one of them cannot act in this answer; None if it stays
        steered as it was."""
        placed = [knob for knob in knobs if self._has_place(knob, tell)]
        self.steer(SteeredBy(tuple(placed))(self.place))
        return len(self._rows[0].ids), placed

    def stop(self) -> list[Event]:
        """End the answer that is being generated, keeping its text so far."""
        events = self._decoding.stop() if self._decoding else []
        self._add(events)
        return events

    def close(self) -> None:
        """Free the cache."""
        if self._decoding:
            self._decoding.close()
            self._decoding = None

    def _has_place(self, knob: Knob, tell: Callable[[str], None]) -> bool:
        try:
            knob.terms(self.place)
        except UsageError as error:  # its text is not in the prompt
            tell(str(error))
            return False
        return True

    def _generate(self, requests: Sequence[Request], said: str | None = None) -> Generator[list[Event]]:
        """Run requests, the rows of one batch, until they are done; `said` is the text that they continue."""
        decoding = self._open(requests)
        if said is not None:
            self.messages.pop()
        self._rows, self._said = [AnswerBuilder() for _ in requests], said or ""
        self.messages.append(Message("assistant", self._said))
        tail = requests[0].ids[-_TAIL:].tolist() if said else []
        try:
            while not decoding.done:
                events = decoding.step()
                if tail:
                    events, tail = [self._joined(tail, event) for event in events], []
                self._add(events)
                yield events
        finally:
            self._held = []
            for row, request in enumerate(requests):
                ids = [*request.ids.tolist(), *decoding.answer(row)]
                text = self._said + self._rows[row].text
                self._held.append((ids, ended(decoding.planned(row), len(ids)), text))
            self.take(0)

    def _add(self, events: Sequence[Event]) -> None:
        """Add the text of events to the message."""
        for event in events:
            self._rows[event.row].take(event)
        if events:
            self.messages[-1] = Message("assistant", self._said + self._rows[0].text)

    def _joined(self, tail: list[int], event: Event) -> Event:
        """The first token of a continuation, with the space that some tokenizers write only between two words."""
        if not isinstance(event, Token) or not event.text:
            return event
        text = self.engine.decode([*tail, event.id]).removeprefix(self.engine.decode(tail))
        return replace(event, text=text) if text.endswith(event.text) else event

    def _open(self, requests: Sequence[Request]) -> Decoding:
        """Start decoding from the cache if it is usable for every row, else without it."""
        old, keep = self._decoding, [0] * len(requests)
        self._decoding = None
        if old is not None and old.intact and old.rows == len(requests) and self.engine.info.capabilities.reuse:
            keep = [reusable(self.engine, *old.history(row), request) for row, request in enumerate(requests)]
        if old is not None and not all(keep):
            old.close()
            old = None
        self._decoding = Decoding(
            self.engine, requests, self.watch, reuse=old, keep=keep if old else (), alarms=self.alarms
        )
        self.prompt, self.reused = len(requests[0].ids), keep[0] if old else 0
        return self._decoding

    def _tokens(self) -> tuple[IntArray, int]:
        """Ids of the rendered chat, and how many of them belong to earlier turns.

        An answer keeps the ids that were sampled, because encoding its text again might give others.
        """
        rest = self._after_answer()
        if rest is not None:
            tail = encode_chat(self.engine, rest)
            return np.concatenate([np.array(self._ids, dtype=np.int32), tail]), len(self._ids)
        ids = encode_chat(self.engine, render(self.engine.info, self.messages))
        return ids, min(common_prefix(self._ids, ids), len(ids) - 1)

    def _after_answer(self) -> Rendered | None:
        """The text that the template puts after the last answer, if it shows that after the unchanged last prompt.

        Templates of models that think drop the thought once the user goes on; the answer is encoded anew then.
        """
        if len(self.messages) < 2 or self.messages[-2] != Message("assistant", self._text) or not self._ids:
            return None
        marked = [*self.messages[:-2], Message("assistant", _MARK), self.messages[-1]]
        rendered = render(self.engine.info, marked)
        before, mark, after = rendered.text.partition(_MARK)
        if not mark or before != self._prompt:
            return None
        whole = render(self.engine.info, self.messages).text
        if not whole.startswith(before) or whole.removeprefix(before).removesuffix(after).strip() != self._text.strip():
            return None
        return rendered.part(len(before) + len(mark))


def _flat(steps: Generator[list[Event]]) -> Iterator[Event]:
    with closing(steps):
        for events in steps:
            yield from events
