"""Gates: conditions that a term acts under, and alarms that tell when a probe fires.

A term with gates acts while all of them are open. What a gate says is decided by the decode loop
(`localprobe.generation.gates`); engines only see the terms that act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from localprobe.engine import Steering, Term, Watch
from localprobe.steering.positions import Place


@dataclass(frozen=True, slots=True, eq=False)
class TokenGate:
    """Opens and closes by the scores of the answer's tokens, from the next token on.

    A token's score exists one step after the token was sampled, so the gate is one token late. It is closed when an
    answer begins. Between the two thresholds it stays as it is. Scores do not count what the additions of the steering
    contribute directly, so a term does not hold its own gate open by what it adds.
    """

    name: str
    """The condition in words: `calm > 2.31`."""
    watch: Watch
    opens: float
    """Score above which it opens."""
    closes: float
    """Score below which it closes."""
    above: bool = True
    """False turns both comparisons round."""

    def next(self, state: bool, score: float) -> bool:
        """Whether it is open after a token of this score."""
        sign = 1 if self.above else -1
        if sign * score > sign * self.opens:
            return True
        return state and not sign * score < sign * self.closes


@dataclass(frozen=True, slots=True, eq=False)
class PromptGate:
    """Decided once, by the mean score of the unsteered message (conditional steering, Lee et al. 2024)."""

    name: str
    watch: Watch
    bound: Callable[[int], float]
    """The threshold for a text of that many tokens."""
    above: bool = True

    def decide(self, place: Place) -> Decided:
        """The decision for a prompt."""
        score, tokens = place.score(self.watch)
        bound = self.bound(tokens)
        return Decided(self.name, score > bound if self.above else score < bound, score)


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """A gate on the prompt, after the decision."""

    name: str
    open: bool
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class ThinkingGate:
    """Closed while the model thinks before it answers, between marks such as `<think>` and `</think>`."""

    name: str = "outside thinking"
    inside: bool = False
    """Whether the prompt ends inside a thought."""


Gate: TypeAlias = TokenGate | Decided | ThinkingGate


@dataclass(frozen=True, slots=True, eq=False)
class GatedTerm(Term):
    """A term that acts while all of its gates are open. It never reaches an engine."""

    gates: tuple[Gate, ...] = ()

    @property
    def plain(self) -> Term:
        """The term that an engine gets while the gates are open."""
        return Term(self.layer, self.delta, self.start, self.stop, self.keep_norm, self.coordinates)


@dataclass(frozen=True, slots=True, eq=False)
class Alarm:
    """Tells of every token of an answer whose score is above a threshold, or below it."""

    name: str
    """The condition in words: `calm > 2.31`."""
    watch: Watch
    threshold: float
    above: bool = True

    def fires(self, score: float) -> bool:
        """Whether a token of this score is told of."""
        return score > self.threshold if self.above else score < self.threshold


def gated(term: Term, gates: tuple[Gate, ...]) -> Term:
    """The term under gates; itself if there are none."""
    if not gates:
        return term
    parts = (term.layer, term.delta, term.start, term.stop, term.keep_norm, term.coordinates)
    return GatedTerm(*parts, gates=gates)


def gates_of(steering: Steering) -> dict[str, Gate]:
    """The gates of all terms, by name."""
    return {gate.name: gate for term in steering if isinstance(term, GatedTerm) for gate in term.gates}
