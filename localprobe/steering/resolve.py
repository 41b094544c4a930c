"""From a steering expression to knobs of a loaded model: names to vectors, doses to alphas, rates to thresholds.

Errors name the column of the expression where the vector, the probe or the layer stands.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from localprobe.engine import FloatArray, Info, Operator
from localprobe.errors import LocalprobeError, LocalprobeWarning, UsageError
from localprobe.steering import expression as said
from localprobe.steering.expression import Bound, Condition, Expression, TermExpression
from localprobe.steering.gates import Alarm, PromptGate, TokenGate
from localprobe.steering.knob import Knob, ablation_basis, watch
from localprobe.steering.lexer import at
from localprobe.steering.parser import parse, parse_watch
from localprobe.vectors.vector import Vector

Find = Callable[[str], Vector]
"""The vector of a name or a path. Raises LocalprobeError if there is none."""


class Steered(Protocol):
    """What of a model is needed: `localprobe.model.Model` has it."""

    @property
    def info(self) -> Info: ...

    @property
    def scale(self) -> FloatArray:
        """(layers,) median residual length."""
        ...

    @property
    def neutral_mean(self) -> FloatArray:
        """(layers, width) mean residual over neutral text."""
        ...


def knobs(expression: Expression | str, model: Steered, find: Find) -> list[Knob]:
    """The knobs of an expression on a model, in its order. Raises UsageError in one line, with the column."""
    if not isinstance(expression, Expression):
        expression = parse(expression)
    resolver = _Resolver(expression.text or str(expression), model, find)
    return [knob for term in expression.terms for knob in resolver.knobs(term)]


def alarm(text: str, model: Steered, find: Find) -> Alarm:
    """The alarm of a condition such as `calm > fpr 0.01`; a probe alone is watched at a false-positive rate of 1 %."""
    condition = parse_watch(text)
    resolver = _Resolver(text, model, find)
    probe, layer = resolver.probe(condition)
    threshold = resolver.number(condition.bound, probe, layer, condition.column)
    return Alarm(str(condition), watch(probe, layer), threshold, condition.above)


@dataclass(frozen=True, slots=True, eq=False)
class _Resolver:
    text: str
    model: Steered
    find: Find

    def knobs(self, term: TermExpression) -> Iterator[Knob]:
        vectors = [self._vector(term, i) for i in range(len(term.vectors))]
        first, column = vectors[0], _column(term, 0)
        layers, source = self._layers(term, first, column)
        self._check_directions(term, vectors, layers if source is None else (source,))
        if term.tokens is not None and term.positions.kind not in ("all", "response"):
            limit = (
                f"'for {term.tokens} tokens' limits the answer, which positions {term.positions.kind!r} do not reach"
            )
            raise at(self.text, term.column, limit)
        base = Knob(
            first,
            layers[0],
            term.strength,
            str(term.positions),
            source=source,
            tokens=term.tokens,
            gates=tuple(self._gate(gate) for gate in term.gates),
            text=str(term),
        )
        match term.operator:
            case "add":
                operator: Operator = "keep-norm" if term.keep_norm else "add"
                for layer in layers:
                    alpha = self._alpha(term, first, layer, source)
                    yield replace(base, layer=layer, alpha=alpha, operator=operator)
            case "ablate":
                main, others = layers[0] if source is None or source not in layers else source, tuple(vectors[1:])
                ablation = replace(base, layer=main, layers=layers, operator="ablate", others=others)
                if term.target == "mean":
                    yield replace(ablation, centre=self.model.neutral_mean)
                else:
                    self._warn_of_mean(term, first, main if source is None else source)
                    yield replace(ablation, target=term.target)
            case "cap":
                for layer in layers:
                    low, high = self._bounds(term, first, layer if source is None else source)
                    yield replace(base, layer=layer, operator="cap", low=low, high=high)

    def _check_directions(self, term: TermExpression, vectors: list[Vector], layers: tuple[int, ...]) -> None:
        """Every vector has a direction at the layers, and none lies in the span of those before it."""
        for number, vector in enumerate(vectors):
            for layer in layers:
                if layer not in vector.directions:
                    missing = (
                        f"vector {term.vectors[number]!r} has no direction at layer {layer}, only at {vector.span}"
                    )
                    raise at(self.text, _column(term, number), missing)
                try:
                    ablation_basis([other.directions[layer].vector for other in vectors[: number + 1]])
                except UsageError as error:
                    raise at(self.text, _column(term, number), str(error)) from error

    def _warn_of_mean(self, term: TermExpression, vector: Vector, layer: int) -> None:
        """Say so where an ablation moves neutral text by more than the poles are apart: most of what it removes is then
        the mean of all residuals, without which a model may break, and not the concept."""
        direction = vector.directions[layer]
        off = abs(float(self.model.neutral_mean[layer] @ (direction.vector / direction.length)) - float(term.target))
        if term.strength and direction.threshold and off > direction.norm:
            warnings.warn(
                f"at layer {layer} neutral text lies {off:.3g} from there along {term.vectors[0]!r}, "
                f"{off / direction.norm:.2g} times the distance of its poles: 'to mean' removes only what varies",
                LocalprobeWarning,
                stacklevel=6,
            )

    def _vector(self, term: TermExpression, number: int) -> Vector:
        vector = self._found(term.vectors[number], _column(term, number))
        for line in vector.check_compatible(self.model.info):
            warnings.warn(line, LocalprobeWarning, stacklevel=6)
        return vector

    def _found(self, name: str, column: int) -> Vector:
        info = self.model.info
        try:
            return self.find(name).within(info.model, info.layers, info.width)
        except LocalprobeError as error:
            raise at(self.text, column, str(error)) from error

    def _layers(self, term: TermExpression, vector: Vector, column: int) -> tuple[tuple[int, ...], int | None]:
        """Where a term acts, and the layer of its direction (None for each layer's own).

        An ablation without layers acts at every layer, along the direction of the vector's best one, as the published
        method does; other terms at that one layer, or at all of a control vector that names none.
        """
        info = self.model.info
        every = tuple(range(info.capabilities.first_layer, info.layers))
        if not term.layers:
            if term.operator != "ablate" and vector.best is None and term.unit == "alpha":
                return tuple(sorted(vector.directions)), None
            try:
                best = vector.layer(None)
            except LocalprobeError as error:
                raise at(self.text, column, f"{error} (write it as @LAYER)") from error
            return (every, best) if term.operator == "ablate" else ((best,), None)
        layers = every if term.layers.every else term.layers.indices
        if term.layers.every and term.source is None:
            layers = tuple(layer for layer in every if layer in vector.directions)
        for layer in (*layers, *(() if term.source is None else (term.source,))):
            if not 0 <= layer < info.layers:
                raise at(
                    self.text, column, f"layer {layer} is out of range: {info.model} has layers 0 to {info.layers - 1}"
                )
        return layers, term.source

    def _alpha(self, term: TermExpression, vector: Vector, layer: int, source: int | None) -> float:
        if term.unit == "alpha":
            return term.strength
        return vector.directions[layer if source is None else source].alpha(
            term.strength, float(self.model.scale[layer])
        )

    def _bounds(self, term: TermExpression, vector: Vector, layer: int) -> tuple[float, float]:
        column = _column(term, 0)
        low = -math.inf if term.low is None else self.number(term.low, vector, layer, column)
        high = math.inf if term.high is None else self.number(term.high, vector, layer, column)
        if low > high:
            raise at(self.text, column, f"no score lies between {low:.4g} and {high:.4g}: write the lower bound first")
        return low, high

    def _gate(self, gate: said.Gate) -> TokenGate | PromptGate:
        condition = gate.condition
        probe, layer = self.probe(condition)
        watched = watch(probe, layer)
        if isinstance(gate, said.PromptGate):
            bound = condition.bound
            number = self.number(bound, probe, layer, condition.column, tokens=1)  # fails now, not at the first prompt
            if bound.fpr is None:
                return PromptGate(str(gate), watched, lambda tokens: number, condition.above)

            def threshold(tokens: int) -> float:
                return self.number(bound, probe, layer, condition.column, tokens=tokens)

            return PromptGate(str(gate), watched, threshold, condition.above)
        opens = self.number(condition.bound, probe, layer, condition.column)
        closes = opens if gate.until is None else self.number(gate.until, probe, layer, condition.column)
        if (closes > opens) if condition.above else (closes < opens):
            raise at(self.text, condition.column, f"the gate closes at {closes:.4g}, before it opens at {opens:.4g}")
        return TokenGate(str(gate), watched, opens, closes, condition.above)

    def probe(self, condition: Condition) -> tuple[Vector, int]:
        """The vector of a condition and its layer. A probe of another model says nothing here: UsageError."""
        probe, info = self._found(condition.probe, condition.column), self.model.info
        if not probe.is_for(info):
            made = f"probe {condition.probe!r} was made for {probe.origin.model}, not for {info.model}"
            raise at(self.text, condition.column, f"{made}: its scores mean nothing here")
        try:
            return probe, probe.layer(condition.layer)
        except LocalprobeError as error:
            raise at(self.text, condition.column, str(error)) from error

    def number(self, bound: Bound, probe: Vector, layer: int, column: int, *, tokens: int | None = None) -> float:
        """A bound as a score: of a token, or of the mean of so many `tokens`."""
        if bound.value is not None:
            return bound.value
        assert bound.fpr is not None
        from localprobe.vectors.calibration import calibration

        try:
            if tokens is None:
                known = calibration(probe, bound.fpr, layer=layer)
            else:  # the message is scored on its own, as the plain texts of a calibration are
                known = calibration(probe, bound.fpr, layer=layer, unit="text", kind="texts")
        except LocalprobeError as error:
            raise at(self.text, column, str(error)) from error
        if notice := known.notice(probe.concept, self.model.info):
            warnings.warn(notice, LocalprobeWarning, stacklevel=6)
        return known.at(tokens)


def _column(term: TermExpression, number: int) -> int:
    return term.vector_columns[number] if number < len(term.vector_columns) else term.column
