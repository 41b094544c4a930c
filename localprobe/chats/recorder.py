"""The answer recorder: writes answers into their turns while they are generated, and times and checks them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from localprobe.generation.answer import AnswerBuilder

if TYPE_CHECKING:
    from localprobe.chats.turns import SteeredPart, Turn
    from localprobe.generation.events import Event

_WINDOW = 32  # tokens that the rate is taken over
_CHECK = 32  # tokens between two checks of whether an answer degenerates


class AnswerRecorder:
    """Records each row of a batch in a turn; `turns` are in the order of the rows. A turn that already holds an answer
    is continued."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = tuple(turns)
        self.rate = 0.0
        """Tokens per second of each row."""
        self.first_token = 0.0
        """Seconds until the first token."""
        self._answers = [AnswerBuilder() for _ in turns]
        self._before = [(len(turn.pieces), turn.content) for turn in turns]
        self._start = time.perf_counter()
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def take(self, events: Sequence[Event], at: float) -> None:
        """Record the events of a step. `at` is when the engine gave them (`time.perf_counter`)."""
        for event in events:
            self._answers[event.row].take(event)
        for turn, answer, (tokens, content) in zip(self.turns, self._answers, self._before, strict=True):
            turn.pieces[tokens:] = answer.pieces
            turn.scores[tokens:] = answer.scores
            turn.content = content + answer.text
            turn.reason = answer.reason or ""
        self._time(at)
        self._check()

    def mark(self, part: SteeredPart) -> None:
        """Record that the first answer is steered differently from a token on."""
        parts = self.turns[0].parts
        if parts and parts[-1].start == part.start:
            parts.pop()
        if not parts or parts[-1].knobs != part.knobs:
            parts.append(part)

    def _time(self, at: float) -> None:
        if not self._times:
            self.first_token = at - self._start
        self._times.append(at)
        if len(self._times) > 1:
            self.rate = (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _check(self) -> None:
        """Check every `_CHECK` tokens whether an answer degenerates."""
        from localprobe.text_metrics.degeneration import degeneration

        for turn in self.turns:
            if turn.reason or len(turn.pieces) % _CHECK == 0:
                reasons = degeneration(turn.content, reason=turn.reason or None).reasons
                turn.details["degenerate"] = list(reasons)
