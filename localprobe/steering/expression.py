"""A steering expression: what is done to the residuals, where, and when. `str` writes each part in its canonical form,
which `localprobe.steering.parser.parse` reads back as an equal one. docs/steering-language.md explains the language.

Everything is checked when it is made, in the parser and in Python: UsageError in one line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, TypeAlias, get_args

from localprobe.errors import UsageError
from localprobe.steering.lexer import name_text, number_text, unusable
from localprobe.steering.places import EVERYWHERE, MOST_LAYERS, OWN, Layers, Positions, check_whole
from localprobe.suggest import shown

Operator: TypeAlias = Literal["add", "ablate", "cap"]
Unit: TypeAlias = Literal["dose", "alpha", "share"]
_UNITS: dict[Operator, tuple[Unit, ...]] = {"add": ("dose", "alpha"), "ablate": ("share",), "cap": ("share",)}


@dataclass(frozen=True, slots=True)
class Bound:
    """A value of a probe's score, in residual units or by its false-positive rate. One of the two is given."""

    value: float | None = None
    fpr: float | None = None
    """The calibrated threshold that this share of neutral tokens (of a prompt gate, texts) exceeds, from 0 to 1."""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.fpr is None):
            raise UsageError("a bound is either a number or an fpr")
        if self.value is not None:
            _set(self, "value", _finite("bound", self.value))
        if self.fpr is not None:
            _set(self, "fpr", _finite("fpr", self.fpr))
            if not 0 < self.fpr < 1:
                raise UsageError(
                    f"fpr {number_text(self.fpr)} is not between 0 and 1: 0.01 is one of 100 neutral tokens"
                )

    def above(self, other: Bound) -> bool:
        """Whether it is certainly above the other: numbers compare with numbers, and a lower fpr is a higher bound."""
        if self.value is not None and other.value is not None:
            return self.value > other.value
        return self.fpr is not None and other.fpr is not None and self.fpr < other.fpr

    def __str__(self) -> str:
        return number_text(self.value) if self.value is not None else f"fpr {number_text(self.fpr or 0.0)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A probe's score above or below a bound."""

    probe: str
    layer: int | None
    """None for the probe's best layer."""
    above: bool
    bound: Bound
    column: int = field(default=0, compare=False, repr=False)
    """Where the probe is named in the text, from 1; 0 if it was not read from a text."""

    def __post_init__(self) -> None:
        _check_name("probe", self.probe)
        if self.layer is not None:
            check_whole("layer", self.layer, 0, MOST_LAYERS - 1)

    def __str__(self) -> str:
        layer = "" if self.layer is None else f"@{self.layer}"
        return f"{name_text(self.probe)}{layer} {'>' if self.above else '<'} {self.bound}"


@dataclass(frozen=True, slots=True)
class PromptGate:
    """Decided once, from the prompt's mean score."""

    condition: Condition

    def __str__(self) -> str:
        return f"if {self.condition}"


@dataclass(frozen=True, slots=True)
class TokenGate:
    """Opens and closes token by token, from the scores of the tokens of the answer before."""

    condition: Condition
    until: Bound | None = None
    """An open gate closes at this bound instead of the condition's own: hysteresis."""

    def __post_init__(self) -> None:
        if self.until is None:
            return
        higher, lower = (
            (self.until, self.condition.bound) if self.condition.above else (self.condition.bound, self.until)
        )
        if higher.above(lower):
            side, sign = ("above", ">") if self.condition.above else ("below", "<")
            raise UsageError(
                f"'until {self.until}' is {side} '{sign} {self.condition.bound}', so the gate would not stay open"
            )

    def __str__(self) -> str:
        return f"when {self.condition}" + (f" until {self.until}" if self.until else "")


Gate: TypeAlias = PromptGate | TokenGate


@dataclass(frozen=True, slots=True)
class TermExpression:
    """One action on the residuals, where it acts, and when."""

    operator: Operator
    strength: float
    """What is added, as a dose or as alpha; or the share of the component that is ablated; 1 for a cap."""
    unit: Unit
    vectors: tuple[str, ...]
    """One name or path; of an ablation several, which span the subspace that is ablated."""
    keep_norm: bool = False
    """The residual keeps its length when a vector is added."""
    target: float | Literal["mean"] = 0.0
    """The score to which an ablation takes the component: a number, or the mean over neutral texts."""
    low: Bound | None = None
    high: Bound | None = None
    """The bounds of a cap; one or both are given."""
    layers: Layers = OWN
    source: int | None = None
    """The layer whose direction is used at all `layers`; each layer's own if None."""
    positions: Positions = EVERYWHERE
    tokens: int | None = None
    """Only the first so many tokens of the answer."""
    gates: tuple[Gate, ...] = ()
    """All of them must be open."""
    column: int = field(default=0, compare=False, repr=False)
    """Where the term begins in the text, from 1; 0 if it was not read from a text."""
    vector_columns: tuple[int, ...] = field(default=(), compare=False, repr=False)
    """Where each of `vectors` is named in the text; empty if it was not read from a text."""

    def __post_init__(self) -> None:
        if self.operator not in get_args(Operator) or self.unit not in _UNITS[self.operator]:
            raise UsageError(f"operator {shown(self.operator)} with unit {shown(self.unit)}: {_units()}")
        _check_types(self, vectors=tuple, layers=Layers, positions=Positions, gates=tuple)
        _set(self, "strength", _finite("strength", self.strength))
        if self.target != "mean":
            _set(self, "target", _finite("target", self.target))
        _check_vectors(self)
        _check_action(self)
        if self.source is not None:
            check_whole("the layer after 'from'", self.source, 0, MOST_LAYERS - 1)
            if not self.layers:
                raise UsageError("'from' needs the layers that it applies to: write @all from 18")
        if self.tokens is not None:
            check_whole("the number of tokens", self.tokens, 1)

    def __str__(self) -> str:
        return " ".join(filter(None, [_action(self), *_clauses(self)]))


@dataclass(frozen=True, slots=True)
class Expression:
    """Terms, which act in this order where they meet at one layer."""

    terms: tuple[TermExpression, ...]
    text: str = field(default="", compare=False, repr=False)
    """What it was read from, in which the columns count; empty if it was made in Python."""

    def __post_init__(self) -> None:
        _check_types(self, terms=tuple)
        if not self.terms:
            raise UsageError("a steering expression has at least one term, such as 0.2 empathy")

    @property
    def names(self) -> list[str]:
        """The vectors that it names, in terms and conditions, each once."""
        named = (name for t in self.terms for name in (*t.vectors, *(gate.condition.probe for gate in t.gates)))
        return list(dict.fromkeys(named))

    def __str__(self) -> str:
        return "; ".join(map(str, self.terms))


def _action(term: TermExpression) -> str:
    first = name_text(term.vectors[0])
    number = number_text(term.strength)
    match term.operator:
        case "add":
            alpha = "alpha " if term.unit == "alpha" else ""
            return f"{alpha}{number} {first}{' keeping norm' if term.keep_norm else ''}"
        case "ablate":
            share = "" if term.strength == 1 else f"{number} "
            target = term.target if term.target == "mean" else number_text(term.target)
            return f"ablate {share}{', '.join(map(name_text, term.vectors))}{f' to {target}' if term.target else ''}"
    if term.low == term.high and term.low and term.low.value is not None:
        return f"set {first} to {term.low}"
    if term.low and term.high:
        return f"cap {first} [{term.low}, {term.high}]"
    return f"cap {first} > {term.low}" if term.low else f"cap {first} < {term.high}"


def _clauses(term: TermExpression) -> Iterable[str]:
    if term.layers:
        yield f"@{term.layers}" + ("" if term.source is None else f" from {term.source}")
    if term.positions.kind != "all":
        yield str(term.positions)
    elif term.positions.outside_thinking:
        yield "outside thinking"
    if term.tokens is not None:
        yield f"for {term.tokens} tokens"
    yield from map(str, term.gates)


def _check_vectors(term: TermExpression) -> None:
    if not term.vectors:
        raise UsageError("a term has at least one vector")
    for name in term.vectors:
        _check_name("vector", name)
    if term.operator != "ablate" and len(term.vectors) > 1:
        raise UsageError(f"only 'ablate' takes several vectors, not {term.operator!r}")
    if len(set(term.vectors)) < len(term.vectors):
        raise UsageError(f"vectors {shown(', '.join(term.vectors))} name one twice")


def _check_action(term: TermExpression) -> None:
    """What belongs to one operator is not given with another."""
    if term.operator == "ablate" and not 0 <= term.strength <= 1:
        raise UsageError(
            f"the share {number_text(term.strength)} to ablate is not between 0 and 1; 1 removes all of it"
        )
    if term.operator == "cap" and term.strength != 1:
        raise UsageError(f"a cap has the strength 1, not {number_text(term.strength)}: give bounds")
    if term.keep_norm and term.operator != "add":
        raise UsageError("only a vector that is added is 'keeping norm'")
    if term.target and term.operator != "ablate":
        raise UsageError(f"only 'ablate' has a target ({term.target})")
    if (term.operator == "cap") != bool(term.low or term.high):
        raise UsageError("a cap has a bound, low or high or both, and nothing else has one")
    if term.low and term.high and term.low.above(term.high):
        order = "a higher fpr is a lower bound" if term.low.fpr else "write the lower bound first"
        raise UsageError(f"no score is from {term.low} to {term.high}: {order}")


def _check_types(value: object, **kinds: type) -> None:
    """UsageError for a field that holds, as Python code may pass it, something of another type."""
    for name, kind in kinds.items():
        if not isinstance(given := getattr(value, name), kind):
            raise UsageError(f"{name} {shown(given)} is of type {type(given).__name__}: give a {kind.__name__}")


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise UsageError(f"{what} {shown(name)} is no text: give a name or a path")
    if fault := unusable(name):
        raise UsageError(f"{what} {shown(name)} {fault}")


def _finite(what: str, value: object) -> float:
    """The value as a float without the sign of a zero; UsageError if it is no finite number."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise UsageError(f"{what} {shown(value)} is no finite number")
    return number + 0.0


def _set(value: object, name: str, new: object) -> None:
    object.__setattr__(value, name, new)  # in a frozen dataclass, while it is made


def _units() -> str:
    return "; ".join(f"{operator!r} takes {' or '.join(map(repr, units))}" for operator, units in _UNITS.items())
