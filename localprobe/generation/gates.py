"""The gates of a row while it is decoded: which of its terms act now, and the events of gates that open and close."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from localprobe.engine import Engine, FloatArray, Steering, Watch
from localprobe.generation.events import Alert, Event, GateChange
from localprobe.generation.thinking import Thinking
from localprobe.steering.gates import Alarm, Decided, GatedTerm, ThinkingGate, TokenGate, gates_of

Scores: TypeAlias = dict[Hashable, float]
"""Scores of a token by `Watch.content`."""


class RowGates:
    """The gates of one row's terms, and whether each is open."""

    def __init__(
        self, engine: Engine, wanted: Steering, ids: Iterable[int] = (), before: RowGates | None = None
    ) -> None:
        """`wanted` may hold `GatedTerm`s; `ids` are the row's tokens so far, in which a thought may have been opened.
        Gates of the same name as in `before` keep their state."""
        self.wanted = wanted
        self.turned = False
        """Whether a gate has opened or closed since the row was last steered."""
        self._engine = engine
        self._gates = gates_of(wanted)
        self._open = {name: _begins(gate) for name, gate in self._gates.items()}
        self._thinking: Thinking | None = before._thinking if before else None
        if before:
            self._open.update({name: state for name, state in before._open.items() if name in self._open})
        thinks = [gate for gate in self._gates.values() if isinstance(gate, ThinkingGate)]
        if thinks and self._thinking is None:
            self._thinking = Thinking(engine)
            if before or thinks[0].inside:  # what opened a thought says what closes it
                for token in ids:
                    self._thinking.push(token)
                self._open.update((gate.name, not self._thinking.inside) for gate in thinks)

    @property
    def watches(self) -> list[Watch]:
        """The projections that its gates read."""
        return [gate.watch for gate in self._gates.values() if isinstance(gate, TokenGate)]

    @property
    def reads(self) -> bool:
        """Whether a gate reads scores."""
        return any(isinstance(gate, TokenGate) for gate in self._gates.values())

    def steering(self) -> Steering:
        """The terms that act now, as an engine takes them."""
        return tuple(
            term.plain if isinstance(term, GatedTerm) else term
            for term in self.wanted
            if not isinstance(term, GatedTerm) or all(self._open[gate.name] for gate in term.gates)
        )

    @property
    def all_terms(self) -> Steering:
        """Every term, as an engine takes it once its gates are open."""
        return tuple(term.plain if isinstance(term, GatedTerm) else term for term in self.wanted)

    def begin(self, row: int) -> list[Event]:
        """What was decided before the first token, and thoughts that the prompt left open."""
        events: list[Event] = []
        for gate in self._gates.values():
            if isinstance(gate, Decided):
                events.append(GateChange(row, 0, gate.name, gate.open, gate.score))
            elif isinstance(gate, ThinkingGate) and not self._open[gate.name]:
                events.append(GateChange(row, 0, gate.name, False, None))
        return events

    def token(self, row: int, index: int, token: int) -> list[Event]:
        """Take a sampled token, which has not been run yet."""
        if self._thinking is None:
            return []
        was, inside = self._thinking.inside, self._thinking.push(token)
        names = [gate.name for gate in self._gates.values() if isinstance(gate, ThinkingGate)]
        self._open.update(dict.fromkeys(names, not inside))
        self.turned = self.turned or (was != inside and bool(names))
        return [GateChange(row, index, name, not inside, None) for name in names] if was != inside else []

    def scored(self, row: int, index: int, scores: Scores) -> list[Event]:
        """Take the scores of the token before `index`; gates act from `index` on."""
        events: list[Event] = []
        for gate in self._gates.values():
            if isinstance(gate, TokenGate):
                score, was = scores[gate.watch.content], self._open[gate.name]
                self._open[gate.name] = gate.next(was, score)
                if was != self._open[gate.name]:
                    self.turned = True
                    events.append(GateChange(row, index, gate.name, not was, score))
        return events


def _begins(gate: TokenGate | Decided | ThinkingGate) -> bool:
    match gate:
        case Decided():
            return gate.open
        case ThinkingGate():
            return not gate.inside
    return False


def fired(alarms: Sequence[Alarm], row: int, index: int, scores: Scores) -> list[Event]:
    """Alerts of the probes that fire at the token `index`."""
    return [
        Alert(row, index, alarm.name, scores[alarm.watch.content], alarm.threshold)
        for alarm in alarms
        if alarm.fires(scores[alarm.watch.content])
    ]


def without_added(values: FloatArray, watches: Sequence[Watch], steering: Steering, position: int) -> Scores:
    """The scores of a position, without what additions contribute to them directly: the
    projections of their deltas at the watched layer or below."""
    added = [term for term in steering if term.operator == "add" and term.covers(position)]
    return {
        watch.content: float(value) - float(sum(np.dot(t.delta, watch.vector) for t in added if t.layer <= watch.layer))
        for watch, value in zip(watches, values.tolist(), strict=True)
    }
