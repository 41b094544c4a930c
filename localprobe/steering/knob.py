"""A knob: directions of a vector, what is done along them and how strongly, the positions where, and the gates when."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from localprobe.engine import Coordinates, FloatArray, Operator, Steering, Term, Watch
from localprobe.errors import LocalprobeWarning, UsageError
from localprobe.steering.gates import Gate, PromptGate, ThinkingGate, TokenGate, gated
from localprobe.steering.places import Positions
from localprobe.steering.positions import Place, spans, within, without
from localprobe.suggest import shown
from localprobe.vectors.subspace import orthonormal
from localprobe.vectors.vector import Direction, Vector, length, times


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Knob:
    """Acts on the residuals of the named positions along the direction of `vector` at `layer`.

    `add` (the paper's equation 2) adds `alpha` times the direction, `keep-norm` too and restores the residual's length;
    `ablate` takes the share `alpha` (0 to 1) of the coordinate along it away; `cap` holds that coordinate within
    [`low`, `high`]. Coordinates are projections on the direction of length 1, in residual units, as scores are.
    """

    vector: Vector
    layer: int
    """The layer that it acts at, unless `layers` name others."""
    alpha: float
    """The coefficient of an addition, or the share of an ablation; a cap has none."""
    positions: str = "all"
    """As in the steering language: `all`, `prompt`, `response`, `first 5`, `response outside thinking`, ..."""
    operator: Operator = "add"
    layers: tuple[int, ...] = ()
    """The layers that it acts at, if it is not `layer` alone."""
    source: int | None = None
    """The layer whose direction is used at all of them; None takes each layer's own."""
    others: tuple[Vector, ...] = ()
    """Ablation: further vectors; the subspace that all of them span is ablated."""
    target: float = 0.0
    """Ablation: what the coordinate along each vector moves to."""
    centre: FloatArray | None = None
    """Mean ablation: (layers, width) mean residual of each layer of the model, whose coordinates it moves to."""
    low: float = float("-inf")
    high: float = float("inf")
    tokens: int | None = None
    """Of an answer, acts on the first so many tokens only."""
    gates: tuple[TokenGate | PromptGate, ...] = ()
    text: str = ""
    """The term of a steering expression that it was made from."""

    @property
    def direction(self) -> Direction:
        """The direction that it acts along at `layer`."""
        return self.along(self.layer)

    def along(self, layer: int) -> Direction:
        """The direction that it acts along at one of its layers."""
        return self.vector.directions[layer if self.source is None else self.source]

    @property
    def reach(self) -> tuple[int, ...]:
        """The layers that it acts at."""
        return self.layers or (self.layer,)

    @property
    def read_at(self) -> int:
        """The layer that scores are read at: where it acts, or where its direction is from if that layer has none."""
        return self.layer if self.layer in self.vector.directions or self.source is None else self.source

    @property
    def watch(self) -> Watch:
        """The projection that scores what it steers."""
        return watch(self.vector, self.read_at)

    @property
    def idle(self) -> bool:
        """Whether it leaves every residual as it is."""
        return self.operator != "cap" and self.alpha == 0

    def dose(self, scale: FloatArray) -> float:
        """Its dose on a model whose residual lengths are `scale` (layers,), `Model.scale`; of an ablation its share."""
        return (
            self.alpha
            if self.operator in ("ablate", "cap")
            else self.direction.dose(self.alpha, float(scale[self.layer]))
        )

    def terms(self, place: Place) -> tuple[Term, ...]:
        """The knob as terms for a prompt, those with a condition as `GatedTerm`s. Runs the message for a condition on
        the prompt, and raises UsageError for a text that the prompt lacks."""
        if self.idle:
            return ()
        gates = tuple(gate.decide(place) if isinstance(gate, PromptGate) else gate for gate in self.gates)
        edits = [self._edit(layer) for layer in self.reach]
        return tuple(
            gated(replace(edit, start=first, stop=stop), (*gates, *more))
            for first, stop, more in self._where(place)
            for edit in edits
        )

    def _where(self, place: Place) -> Iterator[tuple[int, int | None, tuple[Gate, ...]]]:
        """The spans that it acts at, and the gates of each besides its own."""
        positions, last = Positions.parse(self.positions), place.length - 1
        found = spans(positions, place)
        if positions.kind == "positions" and not found and not place.continued:
            nothing = f"{positions} hold no token of a prompt of {place.length}: nothing is steered there"
            warnings.warn(nothing, LocalprobeWarning, stacklevel=4)
        if self.tokens is not None:
            found = within(found, 0, last + self.tokens)
        if not positions.outside_thinking:
            yield from ((first, stop, ()) for first, stop in found)
            return
        thoughts = place.thoughts()
        inside = bool(thoughts) and thoughts[-1][1] == place.length
        for first, stop in without(within(found, 0, last), thoughts):
            yield first, stop, ()
        for first, stop in within(found, last, None):
            yield first, stop, (ThinkingGate(inside=inside),)

    def _edit(self, layer: int) -> Term:
        """What it does at a layer, at all positions."""
        direction = self.along(layer).vector
        if self.operator in ("add", "keep-norm"):
            return Term(layer, times(self.alpha, direction), keep_norm=self.operator == "keep-norm")
        source = layer if self.source is None else self.source
        vectors = [direction, *(vector.directions[source].vector for vector in self.others)]
        basis = ablation_basis(vectors)
        if self.operator == "cap":
            return Term.along(layer, Coordinates(basis, np.zeros(1, np.float32), low=self.low, high=self.high))
        if self.centre is not None:
            target = np.asarray(basis @ self.centre[layer], dtype=np.float32)
        else:
            target = aimed(basis, vectors, self.target)
        return Term.along(layer, Coordinates(basis, target, share=self.alpha))

    def __repr__(self) -> str:
        layers = f"layer {self.layer}" if len(self.reach) == 1 else f"{len(self.reach)} layers"
        strength = f"{self.operator} {self.alpha:.4g}" if self.operator != "add" else f"alpha {self.alpha:+.4g}"
        return f"<Knob {self.vector.concept!r} at {layers}: {strength}, positions {self.positions}>"


def ablation_basis(directions: Sequence[FloatArray]) -> FloatArray:
    """An orthonormal basis (k, width) float32 of the subspace that directions (width,) span; the first keeps its
    direction. UsageError if one of them lies in the span of the others."""
    basis, outside = orthonormal(directions)
    if outside.min() < 1e-6:
        raise UsageError("one of the vectors to ablate lies in the span of the others: leave it out")
    return np.ascontiguousarray(basis.T, dtype=np.float32)


def aimed(basis: FloatArray, vectors: Sequence[FloatArray], target: float) -> FloatArray:
    """The coordinates (k,) float32 in a basis at which the projection on every vector of length 1 is `target`."""
    units = np.stack([vector / length(vector) for vector in vectors]).astype(np.float64)  # (k, width)
    with np.errstate(over="ignore"):  # what is not finite is refused before an engine gets it
        return np.linalg.solve(units @ basis.T, np.full(len(units), target)).astype(np.float32)


def steering(knobs: Iterable[Knob], place: Place) -> Steering:
    """All terms of several knobs."""
    return tuple(term for knob in knobs for term in knob.terms(place))


@dataclass(frozen=True, slots=True, eq=False)
class SteeredBy:
    """The steering of an answer by knobs: called with the place of its prompt, it gives their terms."""

    knobs: tuple[Knob, ...] = ()

    def __call__(self, place: Place) -> Steering:
        return steering(self.knobs, place)


def watch(vector: Vector, layer: int) -> Watch:
    """A projection on what reads a vector's concept (`Direction.unit`), of length 1 so that scores on different
    directions compare."""
    return Watch(layer, vector.directions[layer].unit)


def direct_effect(knobs: Iterable[Knob], watched: Watch) -> float:
    """What additions contribute to a score directly: the projection of alpha * v on the watched vector, summed over the
    knobs without a condition that steer the positions of the answer at or below the watched layer."""
    return float(
        sum(
            knob.alpha * (knob.along(layer).vector @ watched.vector)
            for knob in knobs
            if knob.operator == "add" and not knob.gates and knob.tokens is None and _reaches_answer(knob.positions)
            for layer in knob.reach
            if layer <= watched.layer
        )
    )


def _reaches_answer(positions: str) -> bool:
    return Positions.parse(positions).kind in ("all", "response")


def strength(alpha: float | None, dose: float | None) -> float:
    """Whichever of alpha and dose is given; UsageError for both, neither, or a value that is not finite."""
    strengths = [value for value in (alpha, dose) if value is not None]
    if not strengths:
        raise UsageError("give one strength, either `dose` or `alpha`")
    if len(strengths) > 1:
        raise UsageError("give one strength, either `dose` or `alpha`, not both")
    if not isinstance(strengths[0], Real):
        raise UsageError(f"strength {shown(strengths[0])} is of type {type(strengths[0]).__name__}: give a number")
    if not np.isfinite(strengths[0]):
        raise UsageError(f"strength {strengths[0]} is not a finite number")
    return strengths[0]
