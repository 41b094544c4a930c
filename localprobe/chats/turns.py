"""A chat as a tree of turns, each answer with its tokens' scores and the knobs that it was steered by.

An answer that is regenerated and a message that is edited stay as siblings of what takes their place; the path from the
first turn to the chat's `leaf` is what is shown and what the model reads.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True)
class Turned:
    """A knob as it stood: everything that is needed to say what a part of an answer was steered by."""

    concept: str
    layer: int
    dose: float
    alpha: float
    positions: str


@dataclass(frozen=True, slots=True)
class Part:
    """From the token `start` of an answer on, these knobs were turned; none means unsteered."""

    start: int
    knobs: tuple[Turned, ...] = ()
    added: float = 0.0
    """What they add to a score by themselves: the projection of alpha * v on the direction that is read."""
    scored: int = 0
    """The first token whose score holds that: a knob turned in mid-answer already reaches the token before `start`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the scores of an answer are projections on."""

    concept: str
    layer: int
    threshold: float = 0.0
    """Midpoint of the means of the two poles that the direction was fitted on."""
    norm: float = 1.0
    """How far apart those means are."""


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
    parts: list[Part] = field(default_factory=list)
    reading: Reading | None = None
    reason: str = ""
    """Why the answer ended (`localprobe.generation.decode.Reason`); empty while it goes on, and if it was torn."""
    beside: str | None = None
    """The answer that was generated in the same batch."""
    how: dict[str, Any] = field(default_factory=dict)
    """Model, engine, sampler and seed that an answer was generated with, and at what rate."""

    def own(self) -> list[float]:
        """Scores without what the knobs add to them directly: what the model itself made of it."""
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
        """Put a turn at its place and make it the leaf."""
        self.turns[turn.id] = turn
        self.leaf = turn.id
        if not self.title and turn.role == "user":
            self.title = " ".join(turn.content.split())[:60]
        return turn

    def path(self, leaf: str | None = None) -> list[Turn]:
        """The turns from the first to `leaf`, or to the chat's own; a file that lost one loses what was before it."""
        path: list[Turn] = []
        at = self.leaf if leaf is None else leaf
        while at in self.turns:
            path.append(self.turns[at])
            at = self.turns[at].parent
        return path[::-1]

    def siblings(self, turn: Turn) -> list[Turn]:
        """The turns that stand at the same place, this one included, oldest first."""
        return [other for other in self.turns.values() if other.parent == turn.parent]

    def show(self, turn: Turn) -> None:
        """Take the path through a turn, and from there through the newest of each of its successors."""
        at = turn
        while after := [other for other in self.turns.values() if other.parent == at.id]:
            at = after[-1]
        self.leaf = at.id

    def branch(self) -> Chat:
        """A chat of its own that begins as the path of this one."""
        copy = Chat(f"{self.title} (branch)", self.model, self.system)
        parent = None
        for turn in self.path():
            new = Turn(turn.role, turn.content, parent, created=turn.created)
            new.pieces, new.scores, new.parts = list(turn.pieces), list(turn.scores), list(turn.parts)
            new.reading, new.reason, new.how = turn.reading, turn.reason, dict(turn.how)
            parent = copy.add(new).id
        return copy


def stood(knobs: list[Knob], model: Model) -> tuple[Turned, ...]:
    """Knobs as they are written down beside the text that they steered."""
    return tuple(
        Turned(knob.vector.concept, knob.layer, round(model.dose(knob), 4), round(knob.alpha, 4), knob.positions)
        for knob in knobs
    )


def added(knobs: list[Knob], read: Reading | None, probe: Vector | None) -> float:
    """What knobs add to a score by themselves: their own projection, carried by the residual stream to the layer that
    is read."""
    if read is None or probe is None:
        return 0.0
    import numpy as np

    direction = probe.directions[read.layer].vector
    direction = direction / np.linalg.norm(direction)
    reaching = [knob for knob in knobs if knob.layer <= read.layer and knob.positions != "prompt"]
    return float(sum(knob.alpha * (knob.direction.vector @ direction) for knob in reaching))


def reading(vector: Vector, layer: int) -> Reading:
    """Scores on a vector's direction at a layer."""
    direction = vector.directions[layer]
    return Reading(vector.concept, layer, direction.threshold, direction.norm)
