"""Answers while they are generated: what the engine gives goes into their turns, and is timed and looked at."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localprobe.chats.turns import Part, Turn
    from localprobe.generation.decode import Event

_WINDOW = 32  # tokens that the rate is taken over
_LOOK = 32  # tokens between two looks at whether an answer degenerates


class Answering:
    """The rows of one batch as turns, in their order; `eos` are the ids that end an answer and are no part of it."""

    def __init__(self, turns: Sequence[Turn], eos: Collection[int]) -> None:
        self.turns = tuple(turns)
        self.rate = 0.0
        """Tokens a second of each row."""
        self.first_token = 0.0
        """Seconds until the first token."""
        self._eos = eos
        self._begun = len(turns[0].pieces)  # tokens that an answer had before it was gone on with
        self._asked = time.perf_counter()
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def take(self, events: Sequence[Event], at: float) -> None:
        """Put what a step gave into the turns. `at` is when the engine gave it (`time.perf_counter`)."""
        from localprobe.generation.decode import Finished, Score, Token

        for event in events:
            turn = self.turns[event.row]
            match event:
                case Token() if event.id not in self._eos:
                    turn.pieces.append(event.text)
                    turn.scores.append(math.nan)
                    turn.content += event.text
                case Score():
                    turn.scores[self._begun + event.index] = float(event.values[0])
                case Finished():
                    turn.reason = event.reason
                    turn.content += event.text
                    if turn.pieces:
                        turn.pieces[-1] += event.text
        self._time(at)
        self._look()

    def mark(self, part: Part) -> None:
        """Write down that the first answer is steered otherwise from a token on."""
        parts = self.turns[0].parts
        if parts and parts[-1].start == part.start:
            parts.pop()
        if not parts or parts[-1].knobs != part.knobs:
            parts.append(part)

    def _time(self, at: float) -> None:
        if not self._times:
            self.first_token = at - self._asked
        self._times.append(at)
        if len(self._times) > 1:
            self.rate = (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _look(self) -> None:
        """Look now and then whether an answer degenerates."""
        from localprobe.text_metrics.degeneration import degeneration

        for turn in self.turns:
            if turn.reason or len(turn.pieces) % _LOOK == 0:
                found = degeneration(turn.content, reason=turn.reason or None)
                turn.how["degenerate"] = list(found.reasons)
