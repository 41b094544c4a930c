"""A knob on the chat's panel: a vector, its layer, its strength and the positions it applies to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from localprobe.chats.turns import KnobRecord, Reading
from localprobe.errors import UsageError

if TYPE_CHECKING:
    from localprobe.engine import Info
    from localprobe.model import Model
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector

RANGE = 0.5
"""The largest dose of a slider; typed doses may be larger."""
WHOLE_RANGE = 2.5
"""The largest alpha of a slider for a whole control vector, which has no single dose."""
STRONG, BEYOND = 0.3, 0.45
"""Doses from which steering is strong, and from which small models degenerated, for vectors that were never swept on
the model."""
ABOVE = 4
"""Layers between the steered one and the probe's; at the steered layer, scores contain the added vector."""


@dataclass(slots=True, eq=False)
class PanelKnob:
    """One knob of the panel."""

    vector: Vector
    layer: int | None
    """None steers at all layers of a control vector together."""
    dose: float = 0.0
    """Its strength; for all layers together an alpha."""
    positions: str = "all"
    on: bool = True
    swept: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Layer -> the doses that a sweep of this vector on this model found usable."""

    @classmethod
    def of(cls, vector: Vector) -> PanelKnob:
        """A knob at the vector's own layer, or at all of its layers if it names none, at strength 0."""
        only = next(iter(vector.directions)) if len(vector.directions) == 1 else None
        return cls(vector, only if vector.best is None else vector.best)

    def fit_to(self, info: Info) -> tuple[str, ...]:
        """Leave out what steers nothing in a model; returns notices about it. VectorError if it does not fit."""
        vector = self.vector.within(info.model, info.layers, info.width)
        notices = vector.notices[len(self.vector.notices) :]
        self.vector = vector
        if self.layer is not None and self.layer not in vector.directions:
            self.move(PanelKnob.of(vector).layer)
        return notices

    @property
    def steers(self) -> bool:
        """Whether it has any effect."""
        return self.on and self.dose != 0

    @property
    def reach(self) -> float:
        """The largest strength of its slider, in both directions."""
        return WHOLE_RANGE if self.layer is None else RANGE

    @property
    def place(self) -> str:
        """Its layer in words."""
        return "all layers" if self.layer is None else f"layer {self.layer}"

    @property
    def strength(self) -> str:
        """Its strength in words: `+0.22 @19`, or `alpha +1.50 @all`."""
        return f"alpha {self.dose:+.2f} @all" if self.layer is None else f"{self.dose:+.2f} @{self.layer}"

    def move(self, layer: int | None) -> None:
        """Steer at another layer; resets the strength when changing from or to all layers, where its unit differs."""
        if (layer is None) != (self.layer is None):
            self.dose = 0.0
        self.layer = layer

    def turn(self, step: float) -> None:
        """Turn it by a step of the usual slider, up to the end of its own slider unless it is already beyond."""
        dose = round(self.dose + step * self.reach / RANGE, 3)
        self.dose = dose if abs(dose) < abs(self.dose) else max(-self.reach, min(self.reach, dose))

    def engine_knobs(self, model: Model) -> list[Knob]:
        """The knobs that the engine gets. VectorError if the vector does not fit the model."""
        if self.layer is None:
            return model.knobs(self.vector, alpha=self.dose, positions=self.positions)
        return [model.knob(self.vector, layer=self.layer, dose=self.dose, positions=self.positions)]

    def alpha(self, model: Model | None) -> float | None:
        """The paper's coefficient that its strength stands for; None without a model that it fits."""
        if self.layer is None:
            return self.dose
        if model is None or self.layer >= len(model.scale):
            return None
        return self.vector.directions[self.layer].alpha(self.dose, float(model.scale[self.layer]))

    def turn_to_alpha(self, alpha: float, model: Model | None) -> None:
        """Set its strength as the paper's coefficient. UsageError without a model, where it stands for no dose."""
        if self.layer is None:
            self.dose = alpha
        elif model is None or self.layer >= len(model.scale):
            raise UsageError("an alpha needs a model: type a dose, or load one")
        else:
            self.dose = self.vector.directions[self.layer].dose(alpha, float(model.scale[self.layer]))

    def range(self) -> str:
        """Its strength in a word or two, such as usable."""
        if self.layer is None or not self.dose:
            return ""
        if (swept := self.swept.get(self.layer)) is not None:
            return "usable" if swept[0] <= self.dose <= swept[1] else "beyond usable"
        size = abs(self.dose)
        return "usable" if size < STRONG else "strong" if size < BEYOND else "beyond usable"

    def source(self) -> str:
        """The source of `range`."""
        if self.layer is None:
            return "no range is known for all layers"
        if (swept := self.swept.get(self.layer)) is not None:
            return f"usable in a sweep: {swept[0]:+.2f} to {swept[1]:+.2f}"
        return f"never swept; usable by rule: ±{STRONG}"

    def warning(self) -> str:
        """A sentence if its strength is beyond the usable range; else empty."""
        if not self.steers or self.range() != "beyond usable":
            return ""
        return f"Dose {self.dose:+.2f} is beyond the usable range ({self.source()})."

    def reading(self, layer: int | None = None) -> Reading:
        """What to score with: the vector's direction at a layer, by default a little above the steered one."""
        layers = sorted(self.vector.directions)
        if layer in self.vector.directions and layer is not None:
            return Reading.of(self.vector, layer)
        steered = layers[len(layers) // 2] if self.layer is None else self.layer
        above = [index for index in layers if steered <= index <= steered + ABOVE]
        return Reading.of(self.vector, above[-1] if above else steered)


def in_words(knobs: tuple[KnobRecord, ...]) -> str:
    """Knobs in words: `empathy +0.22 @19, formality -0.10 @14`, `anger alpha +1.50 @3-20`, or `unsteered`."""
    words = []
    for (concept, alpha), group in groupby(knobs, lambda knob: (knob.concept, knob.alpha)):
        same = list(group)
        first = same[0]
        if len(same) > 1:
            words.append(f"{concept} alpha {alpha:+.2f} @{first.layer}-{same[-1].layer}")
        else:
            words.append(f"{concept} {first.dose:+.2f} @{first.layer}")
    return ", ".join(words) or "unsteered"
