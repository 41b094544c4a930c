"""A knob: one direction of a vector, how hard it is turned, and where in a row it applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from localprobe.engine import Steering, Term, Watch
from localprobe.errors import UsageError
from localprobe.steering.positions import span, term
from localprobe.vectors.vector import Direction, Vector


@dataclass(frozen=True, slots=True)
class Knob:
    """`alpha` times the direction of `vector` at `layer`, at the positions named."""

    vector: Vector
    layer: int
    alpha: float
    positions: str = "all"

    @property
    def direction(self) -> Direction:
        """The direction that is added."""
        return self.vector.directions[self.layer]

    @property
    def length(self) -> float:
        """|v|, the length of the direction."""
        return float(np.linalg.norm(self.direction.vector))

    def terms(self, prompt: int, start: int = 0) -> tuple[Term, ...]:
        """The knob as terms for a prompt that ends before position `prompt`, from position `start` on."""
        if self.alpha == 0:
            return ()
        where = span(self.positions, prompt, start)
        if where[1] is not None and where[1] <= where[0]:  # `prompt` positions of a prompt of one token
            return ()
        return (term(self.layer, self.direction.vector, self.alpha, where),)


def steering(knobs: Iterable[Knob], prompt: int, start: int = 0) -> Steering:
    """All terms of several knobs."""
    return tuple(t for knob in knobs for t in knob.terms(prompt, start))


def watch(vector: Vector, layer: int) -> Watch:
    """A live reading of a vector's direction. Ours have length 1; others are brought to it, so that scores compare."""
    direction = vector.directions[layer].vector
    return Watch(layer, np.asarray(direction / np.linalg.norm(direction), dtype=np.float32))


def strength(alpha: float | None, dose: float | None) -> float:
    """The one of alpha and dose that is given; UsageError for both, neither, or a value that is not finite."""
    given = [value for value in (alpha, dose) if value is not None]
    if len(given) != 1:
        raise UsageError("give one strength, either --dose or --alpha, not both")
    if not np.isfinite(given[0]):
        raise UsageError(f"strength {given[0]} is not a finite number")
    return given[0]
