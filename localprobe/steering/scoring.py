"""The projection that scores the tokens of an answer, and the scale to read scores of steered answers on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localprobe.engine import Watch
from localprobe.steering.knob import Knob, direct_effect, watch
from localprobe.steering.tint import REACH, SPREAD
from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """A projection to compute at every token, and the scale to read it on."""

    watch: Watch
    midpoint: float
    """The score halfway between the poles, plus what the knobs add to a score directly. Where the poles' scores
    are unknown (control vectors, results of arithmetic), only what the knobs add."""
    reach: float = 0.0
    """Distance from the midpoint of a clearly positive or negative token; 0 where the poles' scores are unknown."""

    @classmethod
    def of(cls, vector: Vector, layer: int, knobs: Sequence[Knob] = ()) -> Scoring:
        """Scores on a vector's direction at a layer, of an answer that is steered by `knobs`."""
        direction, watched = vector.directions[layer], watch(vector, layer)
        poles = direction.threshold and direction.probe is None  # of a probe of its own, `norm` is no distance of poles
        reach = SPREAD * REACH * direction.norm if poles else 0.0
        return cls(watched, direction.threshold + direct_effect(knobs, watched), reach)

    @classmethod
    def by(cls, probe: Vector | Watch | None, knobs: Sequence[Knob]) -> Scoring | None:
        """Scores by a vector at its own layer, or by any projection, or by the last knob's direction if None.

        None if there is no knob either.
        """
        if isinstance(probe, Watch):
            return cls(probe, direct_effect(knobs, probe))
        if probe is not None:
            return cls.of(probe, probe.layer(), knobs)
        return cls.of(knobs[-1].vector, knobs[-1].read_at, knobs) if knobs else None


def watched(probe: Vector | Watch | None, knobs: Sequence[Knob]) -> Watch | None:
    """The projection of `Scoring.by`, without a scale to read its scores on."""
    if isinstance(probe, Watch):
        return probe
    if probe is not None:
        return watch(probe, probe.layer())
    return knobs[-1].watch if knobs else None
