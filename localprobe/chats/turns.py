"""A chat as a tree of turns, each answer with its tokens' scores and the knobs that it was steered by.

A regenerated answer or an edited message stays in the tree, as a sibling of its replacement. The path from the first
turn to the chat's `leaf` is what is shown and what the model reads.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from localprobe.errors import UsageError
from localprobe.store.json_values import from_json

if TYPE_CHECKING:
    from localprobe.engine import FloatArray, Info, Watch
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True)
class KnobRecord:
    """A knob as it is kept with the text that it steered."""

    concept: str
    layer: int
    dose: float
    alpha: float
    positions: str
    steering: str = ""
    """What it does, as a term of the steering language; empty in chats of 0.1.0, whose knobs all add, and for a knob
    that is not of a term and does more than add."""

    @classmethod
    def of(cls, knob: Knob, scale: FloatArray) -> KnobRecord:
        """The record of a knob on a model of residual lengths `scale` (layers,); strengths to four decimals."""
        dose, alpha = round(knob.dose(scale), 4), round(knob.alpha, 4)
        return cls(knob.vector.concept, knob.layer, dose, alpha, knob.positions, knob.text or _addition(knob, dose))


def _addition(knob: Knob, dose: float) -> str:
    """A knob that only adds, in the steering language; empty for another one, and where the language has no words for
    it: a dose that is not finite, a vector without a name."""
    from localprobe.steering.expression import TermExpression
    from localprobe.steering.places import Layers, Positions

    if knob.operator != "add" or knob.gates or knob.layers or knob.source is not None:
        return ""
    with suppress(UsageError):
        place = Positions.parse(knob.positions)
        names, layers = (knob.vector.concept,), Layers((knob.layer,))
        return str(TermExpression("add", dose, "dose", names, layers=layers, positions=place, tokens=knob.tokens))
    return ""


@dataclass(frozen=True, slots=True)
class SteeredPart:
    """A part of an answer that one set of knobs steered, from the token `start` on; no knobs means unsteered."""

    start: int
    knobs: tuple[KnobRecord, ...] = ()
    added: float = 0.0
    """What the knobs add to a score directly: the projection of alpha * v on the direction that is read. Not counted is
    what acts at some tokens only, under a gate or `for N tokens`: scores contain it."""
    scored: int = 0
    """The first token whose score contains `added`: the token before `start`, if the knob was turned in mid-answer."""

    @classmethod
    def of(
        cls, knobs: Sequence[Knob], scale: FloatArray, watched: Watch | None, start: int, scored: int
    ) -> SteeredPart:
        """A part that begins at the token `start`, on a model of residual lengths `scale`, scored by `watched`."""
        from localprobe.steering.knob import direct_effect

        added = round(direct_effect(knobs, watched), 4) if watched else 0.0
        return cls(start, tuple(KnobRecord.of(knob, scale) for knob in knobs), added, scored)


@dataclass(frozen=True, slots=True)
class GateRecord:
    """A condition of the steering that began or ceased to hold in an answer."""

    token: int
    """The first token of the answer whose own position it affects."""
    gate: str
    """The condition in words: `when calm > 2.31`, `outside thinking`."""
    open: bool
    score: float | None
    """What decided: the score of the token before, or of the prompt; None where no probe decides."""


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """A token of an answer at which a watched-for probe fired."""

    token: int
    probe: str
    """The condition in words: `refusal > 2.31`."""
    score: float
    """Without what additions contribute directly."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the scores of an answer are projections on."""

    concept: str
    layer: int
    threshold: float = 0.0
    """Midpoint of the means of the two poles that the direction was fitted on."""
    norm: float = 1.0
    """How far apart those means are; 0 if unknown."""

    @classmethod
    def of(cls, vector: Vector, layer: int) -> Reading:
        """Scores on a vector's direction at a layer."""
        direction = vector.directions[layer]
        distance = direction.norm if direction.probe is None else 0.0  # else `norm` is no distance between poles
        return cls(vector.concept, layer, direction.threshold, distance)


def generated_by(info: Info) -> dict[str, Any]:
    """The details of an answer that say which model generated it, and with which template arguments."""
    arguments = {"template_args": list(info.template_args)} if info.template_args else {}
    return {"model": info.model, "engine": info.engine, "quantisation": info.quantisation, **arguments}


@dataclass(slots=True, eq=False)
class Turn:
    """One message. `pieces` are the texts of an answer's tokens and `scores` their projections, NaN where unknown."""

    role: Literal["user", "assistant"]
    content: str
    parent: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: float = field(default_factory=time.time)
    pieces: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    parts: list[SteeredPart] = field(default_factory=list)
    reading: Reading | None = None
    reason: str = ""
    """Why the answer ended (`localprobe.generation.events.Reason`); empty while it is being generated, and if the
    process was killed."""
    beside: str | None = None
    """The answer that was generated in the same batch."""
    details: dict[str, Any] = field(default_factory=dict)
    """Model, engine, sampler and seed that an answer was generated with, and at what rate; its `gates` and `alerts`."""

    @property
    def gates(self) -> list[GateRecord]:
        """When conditions of the steering began and ceased to hold."""
        return from_json(list[GateRecord], self.details.get("gates", []))

    @property
    def alerts(self) -> list[AlertRecord]:
        """The tokens at which watched-for probes fired."""
        return from_json(list[AlertRecord], self.details.get("alerts", []))

    def own(self) -> list[float]:
        """Scores less what the knobs add to them directly, as far as `SteeredPart.added` counts it: the model's own
        response."""
        own = list(self.scores)
        ends = [*(part.scored for part in self.parts[1:]), len(own)]
        for part, end in zip(self.parts, ends, strict=False):  # a question has no parts
            own[part.scored : end] = [score - part.added for score in own[part.scored : end]]
        return own


@dataclass(slots=True, eq=False)
class Chat:
    """A chat with its turns, in the order in which they were made."""

    title: str = ""
    model: str = ""
    system: str = ""
    leaf: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    turns: dict[str, Turn] = field(default_factory=dict)

    def add(self, turn: Turn) -> Turn:
        """Add a turn, or replace the one with its id, and make it the leaf."""
        self.turns[turn.id] = turn
        self.leaf = turn.id
        if not self.title and turn.role == "user":
            self.title = " ".join(turn.content.split())[:60]
        return turn

    def path(self, leaf: str | None = None) -> list[Turn]:
        """The turns from the first to `leaf` (the chat's own if None); if the file lost a turn, those after it only."""
        path: list[Turn] = []
        at = self.leaf if leaf is None else leaf
        while at in self.turns:
            path.append(self.turns[at])
            at = self.turns[at].parent
        return path[::-1]

    def siblings(self, turn: Turn) -> list[Turn]:
        """The turns with the same parent, this one included, oldest first."""
        return [other for other in self.turns.values() if other.parent == turn.parent]

    def show(self, turn: Turn) -> None:
        """Make the path lead through a turn, then always through the newest reply."""
        at = turn
        while after := [other for other in self.turns.values() if other.parent == at.id]:
            at = after[-1]
        self.leaf = at.id

    def branch(self) -> Chat:
        """A new chat that begins with a copy of this one's path."""
        copy = Chat(f"{self.title} (branch)", self.model, self.system)
        parent = None
        for turn in self.path():
            new = Turn(turn.role, turn.content, parent, created=turn.created)
            new.pieces, new.scores, new.parts = list(turn.pieces), list(turn.scores), list(turn.parts)
            new.reading, new.reason, new.details = turn.reading, turn.reason, dict(turn.details)
            parent = copy.add(new).id
        return copy
