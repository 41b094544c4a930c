"""The answer recorder: writes answers into their turns while they are generated, and times and checks them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localprobe.generation.answer import AnswerBuilder

if TYPE_CHECKING:
    from localprobe.chats.turns import SteeredPart, Turn
    from localprobe.generation.events import Event

_WINDOW = 32  # tokens that the rate is taken over
_CHECK = 32  # tokens between two checks of whether an answer degenerates
_DIGITS = 5  # of a score that is kept


@dataclass(frozen=True, slots=True)
class _Before:
    """What a turn held when its answer began, or was continued."""

    tokens: int
    content: str
    gates: list[dict[str, Any]]
    alerts: list[dict[str, Any]]

    @classmethod
    def of(cls, turn: Turn) -> _Before:
        tokens = len(turn.pieces)
        state = {change.gate: change.open for change in turn.gates}
        # Gates on tokens are closed where an answer begins, and so where it is continued.
        closed = [_gate(tokens, gate, False, None) for gate, is_open in state.items() if is_open and _by_token(gate)]
        return cls(tokens, turn.content, [*turn.details.get("gates", []), *closed], turn.details.get("alerts", []))

    def tell(self, turn: Turn, answer: AnswerBuilder) -> None:
        """Write the gates and alerts of the answer so far into its turn."""
        at = self.tokens
        if gates := self.gates + [_gate(at + e.index, e.gate, e.open, e.score) for e in answer.gates]:
            turn.details["gates"] = gates
        if alerts := self.alerts + [_alert(at + e.index, e.probe, e.score) for e in answer.alerts]:
            turn.details["alerts"] = alerts


def _gate(token: int, gate: str, is_open: bool, score: float | None) -> dict[str, Any]:
    """The JSON of a `GateRecord`."""
    kept = None if score is None else round(score, _DIGITS)
    return {"token": token, "gate": gate, "open": is_open, "score": kept}


def _alert(token: int, probe: str, score: float) -> dict[str, Any]:
    """The JSON of an `AlertRecord`."""
    return {"token": token, "probe": probe, "score": round(score, _DIGITS)}


def _by_token(gate: str) -> bool:
    """Whether a gate opens and closes by the scores of tokens, from its name in the steering language."""
    return gate.startswith("when ")


class AnswerRecorder:
    """Records each row of a batch in a turn; `turns` are in the order of the rows. A turn that already holds an answer
    is continued."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = tuple(turns)
        self.rate = 0.0
        """Tokens per second of each row."""
        self.first_token = 0.0
        """Seconds until the first token."""
        self.answers = [AnswerBuilder() for _ in turns]
        """What is generated, from where a continued answer goes on."""
        self._before = [_Before.of(turn) for turn in turns]
        self._start = time.perf_counter()
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def take(self, events: Sequence[Event], at: float) -> None:
        """Record the events of a step. `at` is when the engine gave them (`time.perf_counter`)."""
        for event in events:
            self.answers[event.row].take(event)
        for turn, answer, before in zip(self.turns, self.answers, self._before, strict=True):
            turn.pieces[before.tokens :] = answer.pieces
            turn.scores[before.tokens :] = answer.scores
            turn.content = before.content + answer.text
            turn.reason = answer.reason or ""
            before.tell(turn, answer)
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
