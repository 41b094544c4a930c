"""Directions scaled, added, subtracted and made orthogonal, layer by layer.

Neither operands nor results are normalised: the dose of a result is `alpha * |v| / scale`, as of any direction. Two
vectors are combined at the layers that both have.

Where the two cancel, nothing is left to steer with, so that layer is left out, with a notice.

The result of two vectors keeps the `scale` of the layer, which belongs to the model. Its `norm` is its length; its
`threshold` is 0 (unknown), its `measures` are empty and it has no `probe`, since no texts were scored along it. Its
`trained_on` holds the pairs of both, so that it is never tested on them. Its `best` layer is that of the first vector
(or of the second if the first has none), or the nearest layer that both have. Its origin keeps the fields on which the
two agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray
from localprobe.errors import UsageError, VectorError
from localprobe.vectors.vector import Direction, Origin, Vector, checked, times

T = TypeVar("T")
_Array: TypeAlias = NDArray[np.float64]
_METHOD = "arithmetic"
_NOTHING = 1e-6
"""A result shorter than this fraction of its operands is a float32 rounding error, not a direction."""


def only(vector: Vector, layers: Sequence[int]) -> Vector:
    """The vector restricted to these layers; `best` is the nearest of them. UsageError for none, or an absent one."""
    if not layers:
        raise UsageError(f"name at least one layer of {vector.concept}")
    directions = {vector.layer(layer): vector.directions[layer] for layer in layers}
    return replace(vector, directions=directions, best=_nearest(directions, vector.best))


def scale(vector: Vector, factor: float) -> Vector:
    """Every direction times `factor`, in float32, exactly what steering at alpha = `factor` adds.

    A positive factor keeps the measures of a direction. A negative one reverses it: the threshold and a probe change
    sign and the measures are dropped. UsageError for a factor that is 0 or not finite, VectorError if float32 cannot
    hold the result.
    """
    _check_strength("factor", factor)
    return _scaled(vector, dict.fromkeys(vector.directions, factor))


def at_dose(vector: Vector, dose: float) -> Vector:
    """Every direction scaled so that alpha 1 is this dose, by the residual lengths that the file records.

    UsageError for a dose that is 0 or not finite, or for a layer whose residual length is not recorded.
    """
    _check_strength("dose", dose)
    for layer, direction in sorted(vector.directions.items()):
        if not direction.scale > 0:
            raise UsageError(
                f"{vector.concept} does not record the residual length at layer {layer}, so a dose is undefined "
                "there: give an alpha"
            )
    return _scaled(vector, {b: d.alpha(dose, d.scale) for b, d in vector.directions.items()})


def add(a: Vector, b: Vector) -> Vector:
    """a + b. VectorError as for `check`, or if the two cancel at every layer."""
    return _combined(a, b, "+", lambda x, y: x + y)


def subtract(a: Vector, b: Vector) -> Vector:
    """a - b. VectorError as for `check`, or if the two are equal at every layer."""
    return _combined(a, b, "-", lambda x, y: x - y)


def orthogonalise(a: Vector, b: Vector) -> Vector:
    """a without its part along b, `a - (a . b / |b|^2) b`. VectorError as for `check`, or if a is parallel to b
    at every layer."""
    return _combined(a, b, "without", lambda x, y: x - (x @ y) / (y @ y) * y)


def cosines(a: Vector, b: Vector) -> dict[int, float]:
    """Cosine of the two at every layer that both have. VectorError as for `check`."""
    check(a, b)
    cosine_of = {}
    for layer in _common(a, b):
        x, y = _exact(a, layer), _exact(b, layer)
        cosine_of[layer] = float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))
    return cosine_of


def check(a: Vector, b: Vector) -> tuple[str, ...]:
    """Check that two vectors can be combined; returns warnings for the user.

    A different width, or no layer in common, raises VectorError. A different base model of the same width gives a
    warning; different weights of the same base model are normal.
    """
    widths = [{len(direction.vector) for direction in vector.directions.values()} for vector in (a, b)]
    if widths[0] != widths[1]:
        one, other = (" and ".join(map(str, sorted(width))) for width in widths)
        raise VectorError(
            f"{a.concept!r} has width {one} and {b.concept!r} has {other}: they were made for "
            f"{a.origin.model or 'an unnamed model'} and {b.origin.model or 'an unnamed model'}"
        )
    if not _common(a, b):
        raise VectorError(
            f"{a.concept!r} and {b.concept!r} have no layer in common: they have layers {a.span} and {b.span}"
        )
    one, other = a.origin.model, b.origin.model
    if one == other or not (one and other) or a.origin.weights == b.origin.weights != "":
        return ()
    return (f"{a.concept!r} was made for {one}, {b.concept!r} for {other}: do not expect the combination to work",)


def _combined(a: Vector, b: Vector, sign: str, operation: Callable[[_Array, _Array], _Array]) -> Vector:
    check(a, b)
    concept = f"{_grouped(a.concept)} {sign} {_grouped(b.concept)}"
    directions, nothing = {}, []
    for layer in _common(a, b):
        x, y = _exact(a, layer), _exact(b, layer)
        result = operation(x, y)
        length = float(np.linalg.norm(result))
        if length <= _NOTHING * max(np.linalg.norm(x), np.linalg.norm(y)):
            nothing.append(layer)
            continue
        recorded = a.directions[layer].scale or b.directions[layer].scale
        directions[layer] = Direction(_held(concept, result, layer), norm=length, scale=recorded)
    left_out = f"{concept} leaves nothing at layer{'s' if len(nothing) > 1 else ''} {', '.join(map(str, nothing))}"
    if not directions:
        raise VectorError(f"{left_out}: the two are parallel there")
    best = _nearest(directions, a.best if a.best is not None else b.best)
    notices = (f"{left_out}, where the two are parallel: left out",) if nothing else ()
    return Vector(concept, _origin(a.origin, b.origin), directions, best, notices)


def _scaled(vector: Vector, factors: Mapping[int, float]) -> Vector:
    directions = {}
    for layer, direction in vector.directions.items():
        factor = factors[layer]
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is checked in the next line
            product = times(factor, direction.vector)
        values = _held(f"{vector.concept} times {factor:g}", product, layer)
        if factor > 0:
            directions[layer] = replace(direction, vector=values)
        else:
            probe = None if direction.probe is None else -direction.probe
            directions[layer] = replace(
                direction, vector=values, threshold=-direction.threshold, measures={}, probe=probe, calibrations=()
            )
    if min(factors.values()) > 0:
        return replace(vector, directions=directions)
    origin = replace(vector.origin, method=_METHOD)
    return replace(vector, concept=f"-{_grouped(vector.concept)}", origin=origin, directions=directions)


def _check_strength(name: str, value: float) -> None:
    if not np.isfinite(value):
        raise UsageError(f"{name} {value:g} is not a finite number")
    if value == 0:
        raise UsageError(f"{name} 0 leaves nothing of a vector: give another number")


def _held(concept: str, values: NDArray[Any], layer: int) -> FloatArray:
    """The values as float32; VectorError if they overflow."""
    try:
        return checked(values, layer)
    except VectorError as error:
        raise VectorError(f"{concept}: {error} in float32") from error


def _exact(vector: Vector, layer: int) -> _Array:
    return np.asarray(vector.directions[layer].vector, dtype=np.float64)


def _common(a: Vector, b: Vector) -> list[int]:
    return sorted(a.directions.keys() & b.directions.keys())


def _nearest(layers: Mapping[int, Direction], best: int | None) -> int | None:
    if len(layers) == 1:
        return next(iter(layers))
    return None if best is None else min(layers, key=lambda layer: abs(layer - best))


def _grouped(concept: str) -> str:
    return f"({concept})" if " " in concept or concept.startswith("-") else concept


def _origin(a: Origin, b: Origin) -> Origin:
    """The fields on which two origins agree."""
    return Origin(
        model=a.model or b.model,
        weights=_shared(a.weights, b.weights, ""),
        architecture=a.architecture or b.architecture,
        width=a.width or b.width,
        layers=a.layers or b.layers,
        engine=_shared(a.engine, b.engine, ""),
        method=_METHOD,
        pooling=_shared(a.pooling, b.pooling, ""),
        bos=_shared(a.bos, b.bos, None),
        template=_shared(a.template, b.template, ""),
        trained_on=tuple(sorted({*a.trained_on, *b.trained_on})),
    )


def _shared(a: T, b: T, otherwise: T) -> T:
    return a if a == b else otherwise
