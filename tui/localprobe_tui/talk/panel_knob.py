"""A knob on the chat's panel: a term of the steering language whose strength, layer, positions and operator can be
turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from localprobe.chats.turns import Reading
from localprobe.checks import check_operators
from localprobe.errors import UsageError
from localprobe.steering.expression import Expression, Operator, TermExpression, Unit
from localprobe.steering.lexer import name_text, unusable
from localprobe.steering.places import ALL, OWN, Layers, Positions

if TYPE_CHECKING:
    from localprobe.engine import Info
    from localprobe.model import Model
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector

Find: TypeAlias = "Callable[[str], Vector]"
"""The vector of a name. Raises LocalprobeError if there is none."""
RANGE = 0.5
"""The largest dose of a slider; typed doses may be larger."""
WHOLE_RANGE = 2.5
"""The largest alpha of a slider for a whole control vector, which has no single dose."""
STRONG, BEYOND = 0.3, 0.45
"""Doses from which steering is strong, and from which small models degenerated, for vectors that were never swept on
the model."""
ABOVE = 4
"""Layers between the steered one and the probe's; at the steered layer, scores contain the added vector."""
_NEXT: dict[tuple[Operator, bool], tuple[Operator, bool]] = {
    ("add", False): ("ablate", False),
    ("ablate", False): ("add", True),
    ("add", True): ("add", False),
}
"""(operator, keeps the norm) -> what comes after it."""


def check_able(knobs: Sequence[Knob], model: Model) -> None:
    """UsageError if the model's engine lacks the operator of a knob."""
    try:
        check_operators(model.info, (knob.operator for knob in knobs))
    except UsageError as error:
        raise UsageError(f"{error} (F4)") from error


@dataclass(slots=True, eq=False)
class PanelKnob:
    """One knob of the panel."""

    vector: Vector
    layer: int | None
    """The layer that it acts at, and whose direction an ablation takes everywhere; None for several: `layers`, or all
    of a control vector together."""
    dose: float = 0.0
    """Its strength if it adds; for all layers of a control vector together an alpha."""
    positions: str = "all"
    """In the steering language."""
    on: bool = True
    swept: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Layer -> the doses that a sweep of this vector on this model found usable."""
    operator: Operator = "add"
    keep_norm: bool = False
    """Whether the residual keeps its length when the vector is added."""
    share: float = 1.0
    """Its strength if it ablates."""
    layers: Layers = OWN
    """The layers that were typed, if they are more than `layer` says."""
    source: int | None = None
    """The layer whose direction is used at all of `layers`."""
    typed: TermExpression | None = None
    """What it was typed as. Its other vectors, its target, bounds and gates are kept."""
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    """The vectors and probes that `typed` names."""

    @classmethod
    def of(cls, vector: Vector) -> PanelKnob:
        """A knob at the vector's own layer, or at all of its layers if it names none, at strength 0."""
        only = next(iter(vector.directions)) if len(vector.directions) == 1 else None
        return cls(vector, only if vector.best is None else vector.best)

    def become(self, other: PanelKnob) -> None:
        """Take over everything of another knob but whether it is on."""
        for name in self.__slots__:
            if name != "on":
                setattr(self, name, getattr(other, name))

    def fit_to(self, info: Info) -> tuple[str, ...]:
        """Leave out what steers nothing in a model; returns notices about it. VectorError if it does not fit."""
        vector = self.vector.within(info.model, info.layers, info.width)
        notices = vector.notices[len(self.vector.notices) :]
        self.vector = vector
        if self.layer is not None and self.layer not in vector.directions:
            self.move(PanelKnob.of(vector).layer)
        return notices

    @property
    def name(self) -> str:
        """What its vector is called in the steering language."""
        return self.typed.vectors[0] if self.typed else self.vector.concept

    @property
    def unit(self) -> Unit:
        """What its strength is measured in."""
        if self.operator != "add":
            return "share"
        if self.layer is not None:
            return "dose"
        return self.typed.unit if self.typed and self.typed.operator == "add" else "alpha"

    @property
    def term(self) -> TermExpression:
        """What it does, as a term of the steering language."""
        name = "vector" if unusable(self.name) else self.name
        typed = self.typed or TermExpression("add", 0.0, "dose", (name,))
        adds, ablates = self.operator == "add", self.operator == "ablate"
        layers, source = self._layers()
        return replace(
            typed,
            operator=self.operator,
            strength=float(f"{self.value:.8g}"),
            unit=self.unit,
            vectors=typed.vectors if ablates else typed.vectors[:1],
            keep_norm=adds and self.keep_norm,
            target=typed.target if ablates else 0.0,
            layers=layers,
            source=source,
            positions=Positions.parse(self.positions),
        )

    @property
    def gates(self) -> tuple[str, ...]:
        """The conditions under which it acts, in the steering language."""
        return tuple(map(str, self.typed.gates)) if self.typed else ()

    @property
    def value(self) -> float:
        """Its strength, in `unit`; 1 if it has none."""
        return self.dose if self.operator == "add" else self.share

    @value.setter
    def value(self, value: float) -> None:
        if self.operator == "add":
            self.dose = value
        else:
            self.share = value

    @property
    def steers(self) -> bool:
        """Whether it has any effect."""
        return self.on and self.value != 0

    @property
    def reach(self) -> float:
        """The largest strength of its slider, in both directions if it adds."""
        return {"dose": RANGE, "alpha": WHOLE_RANGE, "share": 1.0}[self.unit]

    @property
    def place(self) -> str:
        """Its layers in words."""
        layers, source = self._layers()
        if self.layer is not None and self.operator != "ablate":
            return f"layer {self.layer}"
        if self.layer is not None and not self.layers:
            return f"@all from {self.layer}"
        return f"@{layers}{'' if source is None else f' from {source}'}" if layers else "all layers"

    @property
    def where(self) -> str:
        """Its positions in the steering language."""
        return self.positions + (f" for {self.typed.tokens} tokens" if self.typed and self.typed.tokens else "")

    @property
    def does(self) -> str:
        """What it does to its vectors, in a word or two: `add`, `keep norm`, `ablate`, `cap`, `set`."""
        if self.operator == "add":
            return "keep norm" if self.keep_norm else "add"
        return str(self.term).partition(" ")[0]

    @property
    def named(self) -> str:
        """Its vectors in words."""
        if self.typed is None:
            return self.vector.concept
        return ", ".join(map(name_text, self.term.vectors))

    @property
    def bounds(self) -> str:
        """Of a cap, its bounds in the steering language."""
        bare = replace(self.term, layers=OWN, source=None, positions=Positions(), tokens=None, gates=())
        return str(bare).split(" ", 1)[1].removeprefix(self.named).strip()

    def line(self, model: Model | None) -> str:
        """It in one line: `empathy +0.22 @19 (alpha +48.3)`, `anger alpha +1.50 @all`, or its term if it does more than
        add."""
        if self.operator != "add" or self.keep_norm or self.layers or self.gates:
            return str(self.term)
        if self.layer is None:
            return f"{self.named} alpha {self.dose:+.2f} @all"
        alpha = self.alpha(model)
        return f"{self.named} {self.dose:+.2f} @{self.layer}" + ("" if alpha is None else f" (alpha {alpha:+.1f})")

    def move(self, layer: int | None) -> None:
        """Act at another layer, or take its direction everywhere; resets the dose when changing from or to all layers,
        where its unit differs."""
        before = self.unit
        if self.operator == "ablate" and self.layers and layer is not None:
            if len(self.layers.indices) == 1:
                self.layers = Layers((layer,))
            else:
                self.source = layer
            return
        self.layer, self.layers, self.source = layer, OWN, None
        if self.unit != before:
            self.dose = 0.0

    def next_operator(self) -> None:
        """Ablate instead of add, then add and keep the norm, then add. UsageError for a cap."""
        if self.operator == "cap":
            raise UsageError(f"{self.does!r} has bounds instead of a strength: edit the text to do something else")
        self.operator, self.keep_norm = _NEXT[(self.operator, self.keep_norm)]

    def able(self, model: Model) -> bool:
        """Whether the model's engine has its operator."""
        operator = "keep-norm" if self.operator == "add" and self.keep_norm else self.operator
        return operator in model.info.capabilities.operators

    def turn(self, step: float) -> None:
        """Turn it by a step of the usual slider, up to the end of its own slider unless it is already beyond."""
        if self.operator == "cap":
            return
        value = round(self.value + step * self.reach / RANGE / (1 if self.operator == "add" else 2), 3)
        low = -self.reach if self.operator == "add" else 0.0
        nearer = self.operator == "add" and abs(value) < abs(self.value)
        self.value = value if nearer else max(low, min(self.reach, value))

    def engine_knobs(self, model: Model) -> list[Knob]:
        """The knobs that the engine gets. LocalprobeError if the model cannot be steered so."""
        knobs = model.steering(Expression((self.term,)), find=lambda name: self.vectors.get(name, self.vector))
        check_able(knobs, model)
        return knobs

    def alpha(self, model: Model | None) -> float | None:
        """The paper's coefficient that its strength stands for; None without a model that it fits, or for several
        layers."""
        if self.layer is None:
            return self.dose if self.unit == "alpha" else None
        if model is None or self.layer >= len(model.scale):
            return None
        return self.vector.directions[self.layer].alpha(self.dose, float(model.scale[self.layer]))

    def turn_to_alpha(self, alpha: float, model: Model | None) -> None:
        """Set its dose by the paper's coefficient. UsageError where an alpha stands for no dose."""
        if self.unit == "alpha":
            self.dose = alpha
        elif self.unit == "share":
            raise UsageError("an ablation has a share from 0 to 1, and no alpha")
        elif self.layer is None:
            raise UsageError("several layers have no common alpha: edit the text, as in alpha 20 empathy @3,9")
        elif model is None or self.layer >= len(model.scale):
            raise UsageError("an alpha needs a model: type a dose, or load one")
        else:
            self.dose = self.vector.directions[self.layer].dose(alpha, float(model.scale[self.layer]))

    def range(self) -> str:
        """Its strength in a word or two, such as usable; empty where nothing is known, as of all but additions."""
        if self.layer is None or not self.dose or self.operator != "add" or self.keep_norm:
            return ""
        if (swept := self.swept.get(self.layer)) is not None:
            return "usable" if swept[0] <= self.dose <= swept[1] else "beyond usable"
        size = abs(self.dose)
        return "usable" if size < STRONG else "strong" if size < BEYOND else "beyond usable"

    def about(self) -> str:
        """What the operator does, or the source of `range`."""
        if self.operator == "cap":
            return "the score is held within its bounds"
        if self.operator == "ablate":
            if to := self.typed.target if self.typed else 0.0:
                return f"the score moves {self.share:.0%} towards {'the mean' if to == 'mean' else f'{to:g}'}"
            return f"{self.share:.0%} of the component is removed"
        return "the residual keeps its length" if self.keep_norm else self._known()

    def _known(self) -> str:
        if self.layer is None:
            return f"no range is known for {'several' if self.layers else 'all'} layers"
        if (swept := self.swept.get(self.layer)) is not None:
            return f"usable in a sweep: {swept[0]:+.2f} to {swept[1]:+.2f}"
        return f"never swept; usable by rule: ±{STRONG}"

    def warning(self) -> str:
        """A sentence if its strength is beyond the usable range; else empty."""
        if not self.steers or self.range() != "beyond usable":
            return ""
        return f"Dose {self.dose:+.2f} is beyond the usable range ({self.about()})."

    def reading(self, layer: int | None = None) -> Reading:
        """What to score with: the vector's direction at a layer, by default a little above the steered one."""
        layers = sorted(self.vector.directions)
        if layer in self.vector.directions and layer is not None:
            return Reading.of(self.vector, layer)
        acts = [index for index in self.layers.indices if index in layers]
        steered = self.layer if self.layer is not None else acts[-1] if acts else layers[len(layers) // 2]
        above = [index for index in layers if steered <= index <= steered + ABOVE]
        return Reading.of(self.vector, above[-1] if above else steered)

    def _layers(self) -> tuple[Layers, int | None]:
        """Where it acts, and the layer of its direction, as the steering language says it."""
        if self.layers:
            return self.layers, self.source
        ablates = self.operator == "ablate"
        if self.layer is None:
            return (ALL if ablates else OWN), None
        if not ablates:
            return Layers((self.layer,)), None
        return (OWN, None) if self.layer == self.vector.best else (ALL, self.layer)
