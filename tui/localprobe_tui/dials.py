"""The knobs of the chat as they stand: a vector, its layer, how hard it is turned and where in a row it applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localprobe.chats import Reading, Turned

if TYPE_CHECKING:
    from localprobe.knob import Knob
    from localprobe.model import Model
    from localprobe.vectors import Vector

RANGE = 0.5
"""Doses that a slider reaches; typed ones may be larger."""
STRONG, BEYOND = 0.3, 0.45
"""Doses from which a steering is strong, and from which small models were seen to degenerate."""
ABOVE = 4
"""Layers above the steered one where the probe reads: at the steered one it would read what was added."""


@dataclass(slots=True, eq=False)
class Dial:
    """One knob of the panel."""

    vector: Vector
    layer: int
    dose: float = 0.0
    positions: str = "all"
    on: bool = True

    @classmethod
    def of(cls, vector: Vector) -> Dial:
        """A knob at the vector's own layer, or at the middle one if it names none, not turned yet."""
        layers = sorted(vector.directions)
        return cls(vector, layers[len(layers) // 2] if vector.best is None else vector.best)

    @property
    def turned(self) -> bool:
        """Whether it steers at all."""
        return self.on and self.dose != 0

    def turn(self, step: float) -> None:
        """Turn it a step, at most to the end of the slider, unless it stands further out already."""
        dose = round(self.dose + step, 3)
        self.dose = dose if abs(dose) < abs(self.dose) else max(-RANGE, min(RANGE, dose))

    def knob(self, model: Model) -> Knob:
        """The knob that the engine gets. VectorError if the vector does not fit the model."""
        return model.knob(self.vector, layer=self.layer, dose=self.dose, positions=self.positions)

    def alpha(self, model: Model | None) -> float | None:
        """The paper's coefficient that its dose stands for; None without a model that it fits."""
        if model is None or self.layer >= len(model.scale):
            return None
        import numpy as np

        length = float(np.linalg.norm(self.vector.directions[self.layer].vector))
        return self.dose * float(model.scale[self.layer]) / length

    def range(self) -> str:
        """What is known of such a dose, in a word or two."""
        return usable(self.dose)


def usable(dose: float) -> str:
    """What to expect of a dose: measured on small models, where 0.6 turns every text into repetition."""
    size = abs(dose)
    if size < STRONG:
        return "usable" if size else ""
    return "strong" if size < BEYOND else "beyond usable"


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


def told(knobs: tuple[Turned, ...]) -> str:
    """Knobs in words: `empathy +0.22 @19, formality -0.10 @14`, or `unsteered`."""
    return ", ".join(f"{knob.concept} {knob.dose:+.2f} @{knob.layer}" for knob in knobs) or "unsteered"


def reading(vector: Vector, steered: int) -> Reading:
    """Where to read a vector that steers at a layer: a little above it, if the vector has a direction there."""
    layers = [layer for layer in sorted(vector.directions) if steered <= layer <= steered + ABOVE]
    layer = layers[-1] if layers else steered
    direction = vector.directions[layer]
    return Reading(vector.concept, layer, direction.threshold, direction.norm)
