"""A chat that remembers the steering of every token that it holds.

The next turn goes on from the cache of the last as far as both the tokens and the steering that each was computed
under are the same. Where the cache is gone, a prefill repeats the steering that each token had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from localprobe.chat import Message, render
from localprobe.decode import Decoding, Event, Finished, Request, Token
from localprobe.engine import Engine, IntArray, Sampler, Steering, Watch
from localprobe.positions import ended, same_until

_MARK = "\ue000answer\ue000"  # private use: no template or user writes it
SteeringOf = Callable[[int, int], Steering]
"""(prompt length, first new position) -> terms of a turn."""


class Conversation:
    """Turns of a chat with one model.

    `say` starts an answer and yields its events; `steer` changes the strength in the middle of one, from the very
    next token on. What was said is in `messages` at every moment, an answer that was stopped or torn included.
    """

    def __init__(self, engine: Engine, system: str = "", watch: Sequence[Watch] = ()) -> None:
        self._engine = engine
        self._watch = tuple(watch)
        self.messages: list[Message] = [Message("system", system)] if system else []
        self._decoding: Decoding | None = None
        self._ids: list[int] = []  # the last prompt and its answer, as it was sampled
        self._prompt = ""  # the last prompt's text
        self._turn = 0  # where in `_ids` the last turn began
        self._steering: Steering = ()  # what each position of `_ids` was, or is to be, computed under
        self.reused = 0
        """Positions of the last prompt that came from the cache."""

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
        return self._answer(steering, sampler or Sampler(), key, tokens, tuple(stops))

    def regenerate(
        self, steering: SteeringOf | None = None, *, sampler: Sampler | None = None, key: str = "0", tokens: int = 400
    ) -> Iterator[Event]:
        """Drop the last answer and generate another."""
        if self.messages and self.messages[-1].role == "assistant":
            self.messages.pop()
            self._ids = self._ids[: self._turn]  # the turn begins anew, under the steering of now
        return self._answer(steering, sampler or Sampler(), key, tokens, ())

    def steer(self, steering: Steering) -> None:
        """Change the steering of the answer that is being generated, from the very next token on."""
        if self._decoding and not self._decoding.done:
            self._decoding.steer(0, steering)

    def stop(self) -> list[Event]:
        """End the answer that is being generated, keeping what was said."""
        return self._decoding.stop() if self._decoding else []

    def close(self) -> None:
        """Free the cache."""
        if self._decoding:
            self._decoding.close()
            self._decoding = None

    def _answer(
        self, steering: SteeringOf | None, sampler: Sampler, key: str, tokens: int, stops: tuple[str, ...]
    ) -> Iterator[Event]:
        ids, known = self._tokens()
        self._prompt, self._turn = render(self._engine.info, self.messages), known
        terms = (*ended(self._steering, known), *(steering(len(ids), known) if steering else ()))
        decoding = self._open(Request(ids, terms, sampler, key, tokens, stops))
        said = Message("assistant", "")
        self.messages.append(said)
        place = len(self.messages) - 1
        answer = ""
        try:
            while not decoding.done:
                for event in decoding.step():
                    if isinstance(event, Token | Finished):
                        answer += event.text
                        self.messages[place] = Message("assistant", answer)
                    yield event
        finally:
            self._ids = [*ids.tolist(), *decoding.answer()]
            self._steering = ended(decoding.planned(), len(self._ids))

    def _open(self, request: Request) -> Decoding:
        """Decode from the cache where it serves, else from nothing."""
        old, keep = self._decoding, 0
        if old is not None and old.intact and self._engine.info.capabilities.reuse:
            held, under = old.history()
            keep = _common(held, request.ids)
            keep = min(same_until(under, request.steering, keep), len(request.ids) - 1)
        if old is not None and keep == 0:
            old.close()
            old = None
        self._decoding = None
        self._decoding = Decoding(self._engine, [request], self._watch, reuse=old, keep=[keep] if old else ())
        self.reused = keep
        return self._decoding

    def _tokens(self) -> tuple[IntArray, int]:
        """Ids of the rendered chat, and how many of them are of earlier turns.

        An answer keeps the ids that were sampled: read again from its text, they might be others.
        """
        rest = self._after_answer()
        if rest is not None:
            tail = self._engine.encode(rest, template=True)
            return np.concatenate([np.array(self._ids, dtype=np.int32), tail]), len(self._ids)
        ids = self._engine.encode(render(self._engine.info, self.messages), template=True)
        return ids, min(_common(self._ids, ids), len(ids) - 1)

    def _after_answer(self) -> str | None:
        """What the template puts after the last answer, if what stands before it is the last prompt unchanged."""
        if len(self.messages) < 2 or self.messages[-2].role != "assistant" or not self._ids:
            return None
        marked = [*self.messages[:-2], Message("assistant", _MARK), self.messages[-1]]
        before, mark, after = render(self._engine.info, marked).partition(_MARK)
        return after if mark and before == self._prompt else None


def _common(a: Sequence[int], b: IntArray) -> int:
    """Length of the common start of two rows of ids."""
    n = min(len(a), len(b))
    different = np.nonzero(np.asarray(a[:n], dtype=np.int32) != b[:n])[0]
    return int(different[0]) if len(different) else n
