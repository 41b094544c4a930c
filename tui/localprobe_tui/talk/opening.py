"""The settings of the first chat: the options of `localprobe chat`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localprobe_tui.talk.panel_knob import PanelKnob

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.vectors.vector import Vector
    from localprobe_tui.talk.controller import ChatController
    from localprobe_tui.talk.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Opening:
    """A vector, its strength and sampling settings; None for options that the user did not give."""

    vector: str | None = None
    """A file, or a name in the library of vectors."""
    layer: int | None = None
    dose: float | None = None
    alpha: float | None = None
    positions: str = "all"
    steering: tuple[str, ...] = ()
    """Steering expressions."""
    conditions: tuple[str, ...] = ()
    """Conditions to watch for."""
    system: str = ""
    tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None

    def sampling(self, usual: Sampling) -> Sampling:
        """The sampling settings: `usual` with the given options."""
        options = {name: getattr(self, name) for name in ("tokens", "temperature", "seed")}
        return replace(usual, **{name: value for name, value in options.items() if value is not None})

    def put(self, vector: Vector, talk: ChatController, model: Model) -> tuple[str, ...]:
        """Put the vector on the panel; returns notices about it. VectorError if it does not fit the model."""
        knob = PanelKnob.of(vector)
        notices = (*vector.notices, *knob.fit_to(model.info))
        if self.layer is not None:
            knob.move(knob.vector.layer(self.layer))
        knob.positions = self.positions
        knob.dose = self.dose or 0.0
        if self.alpha is not None:
            knob.turn_to_alpha(self.alpha, model)
        talk.knobs.insert(0, knob)
        talk.changed()
        return notices
