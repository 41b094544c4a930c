"""A knob: one direction of a vector, the strength at which it is added, and the positions where it applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from localprobe.engine import FloatArray, Steering, Term, Watch
from localprobe.errors import UsageError
from localprobe.steering.positions import span, term
from localprobe.vectors.vector import Direction, Vector


@dataclass(frozen=True, slots=True, repr=False)
class Knob:
    """Adds `alpha` times the direction of `vector` at `layer` to the residuals of the named positions."""

    vector: Vector
    layer: int
    alpha: float
    positions: str = "all"

    @property
    def direction(self) -> Direction:
        """The direction that is added."""
        return self.vector.directions[self.layer]

    def dose(self, scale: FloatArray) -> float:
        """Its dose on a model whose residual lengths are `scale` (layers,), `Model.scale`."""
        return self.direction.dose(self.alpha, float(scale[self.layer]))

    def terms(self, prompt: int, start: int = 0) -> tuple[Term, ...]:
        """The knob as terms for a prompt that ends before position `prompt`, from position `start` on."""
        if self.alpha == 0:
            return ()
        where = span(self.positions, prompt, start)
        if where[1] is not None and where[1] <= where[0]:  # `prompt` positions of a prompt of one token
            return ()
        return (term(self.layer, self.direction.vector, self.alpha, where),)

    def __repr__(self) -> str:
        strength = f"alpha {self.alpha:+.4g}, positions {self.positions}"
        return f"<Knob {self.vector.concept!r} at layer {self.layer}: {strength}>"


def steering(knobs: Iterable[Knob], prompt: int, start: int = 0) -> Steering:
    """All terms of several knobs."""
    return tuple(t for knob in knobs for t in knob.terms(prompt, start))


def watch(vector: Vector, layer: int) -> Watch:
    """A projection on what reads a vector's concept (`Direction.unit`), of length 1 so that scores on different
    directions compare."""
    return Watch(layer, vector.directions[layer].unit)


def direct_effect(knobs: Iterable[Knob], watched: Watch) -> float:
    """What knobs add to a score directly: the projection of alpha * v on the watched vector, summed over the knobs that
    steer the positions of the answer at or below the watched layer."""
    reaching = [knob for knob in knobs if knob.layer <= watched.layer and knob.positions != "prompt"]
    return float(sum(knob.alpha * (knob.direction.vector @ watched.vector) for knob in reaching))


def strength(alpha: float | None, dose: float | None) -> float:
    """Whichever of alpha and dose is given; UsageError for both, neither, or a value that is not finite."""
    strengths = [value for value in (alpha, dose) if value is not None]
    if len(strengths) != 1:
        raise UsageError("give one strength, either `dose` or `alpha`, not both")
    if not np.isfinite(strengths[0]):
        raise UsageError(f"strength {strengths[0]} is not a finite number")
    return strengths[0]
