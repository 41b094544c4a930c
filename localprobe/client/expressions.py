"""Knobs and alarms in the steering language, as a server reads them: by the names of vectors that it keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from localprobe.steering.expression import Bound, Expression, TermExpression
from localprobe.steering.parser import parse
from localprobe.steering.places import Layers, Positions

if TYPE_CHECKING:
    from localprobe.client.vectors import ServerVectors
    from localprobe.steering.knob import Knob


def expression_of(knobs: Sequence[Knob], vectors: ServerVectors) -> str:
    """The steering expression that stands for knobs, empty for none. Vectors that the server lacks are uploaded:
    VectorError if it takes none."""
    terms = []
    for _, same in groupby(enumerate(knobs), lambda each: each[1].text or each[0]):  # one term may make several knobs
        knob = next(same)[1]
        names = tuple(vectors.name_of(vector) for vector in (knob.vector, *knob.others))  # an idle knob is read too
        if knob.idle:
            continue
        terms.append(str(_said(knob, names)) if knob.text else _written(knob, names))
    return "; ".join(terms)


def _said(knob: Knob, names: tuple[str, ...]) -> Expression:
    """The term that a knob was made from, with the server's names of its vectors."""
    expression = parse(knob.text)
    return Expression(tuple(replace(term, vectors=names) for term in expression.terms))


def _written(knob: Knob, names: tuple[str, ...]) -> str:
    """A knob that was made in Python, with its exact numbers."""
    layers = Layers(knob.reach)
    adds, ablates = knob.operator in ("add", "keep-norm"), knob.operator == "ablate"
    term = TermExpression(
        "add" if adds else "ablate" if ablates else "cap",
        1.0 if knob.operator == "cap" else knob.alpha,
        "alpha" if adds else "share",
        names,
        keep_norm=knob.operator == "keep-norm",
        target="mean" if knob.centre is not None else knob.target,
        low=_bound(knob.low),
        high=_bound(knob.high),
        layers=layers,
        source=knob.source,
        positions=Positions.parse(knob.positions),
        tokens=knob.tokens,
    )
    return " ".join([str(term), *(gate.name for gate in knob.gates)])


def _bound(value: float) -> Bound | None:
    return Bound(value) if math.isfinite(value) else None
