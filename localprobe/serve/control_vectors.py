"""`/control-vectors` as ik_llama.cpp's server has them, for clients with sliders: additions of the default steering.

A vector is loaded by a name of the library. Clients name files: of a path the last part counts, without its suffix, and
no file is opened. The state is the default steering itself: id n is its n-th addition, a scale is alpha, and layers are
from `layer_start` to `layer_end`, both included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from msgspec import Struct

from localprobe.model import Model
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import library_name, library_vector, of_field
from localprobe.serve.steering import applied
from localprobe.serve.types import Name, Strict
from localprobe.steering.expression import TermExpression
from localprobe.steering.parser import parse
from localprobe.steering.places import Layers
from localprobe.suggest import shown
from localprobe.vectors import files
from localprobe.vectors.vector import Vector


class ControlVector(Struct):
    """A vector that is added to every token of requests that name no steering."""

    id: int
    path: str
    """The vector's name."""
    scale: float
    layer_start: int
    layer_end: int
    applied: bool
    """Whether its scale is not 0."""


class LoadVector(Strict):
    """The body of `POST /control-vectors/load`."""

    path: Name
    scale: float = 1.0
    layer_start: int | None = None
    """The vector's first layer if not given, or not positive."""
    layer_end: int | None = None


class UnloadVector(Strict):
    """The body of `POST /control-vectors/unload`."""

    id: int


class ScaleVector(Strict):
    """One vector of the body of `POST /control-vectors/apply`; those that are not named stay as they are."""

    id: int
    scale: float
    layer_start: int | None = None
    layer_end: int | None = None


class Done(Struct, omit_defaults=True):
    success: bool
    id: int = -1
    """Of the vector that was loaded."""


async def list_control_vectors(call: Call[None]) -> list[ControlVector]:
    terms = _terms(call.host.default)
    added = [terms[place] for place in _additions(terms)]
    if not added:
        return []
    hosted = call.host.hosted()
    return await hosted.run(lambda model: [_about(model, number, term) for number, term in enumerate(added)])


async def load_control_vector(call: Call[LoadVector]) -> Done:
    name, vector = _vector(call, call.body.path)
    terms = _terms(call.host.default)
    layers = _layers(vector, call.body.layer_start, call.body.layer_end)
    term = TermExpression("add", call.body.scale, "alpha", (name,), layers=layers)
    await _put(call, [*terms, term])
    return Done(True, len(_additions(terms)))


async def unload_control_vector(call: Call[UnloadVector]) -> Done:
    terms = _terms(call.host.default)
    del terms[_place(terms, call.body.id)]
    await _put(call, terms)
    return Done(True)


async def apply_control_vectors(call: Call[list[ScaleVector]]) -> Done:
    terms = _terms(call.host.default)
    for wanted in call.body:
        place = _place(terms, wanted.id)
        term = terms[place]
        layers = term.layers
        if wanted.layer_start is not None or wanted.layer_end is not None:
            vector = library_vector(term.vectors[0], call.host.hosted().info)
            layers = _layers(vector, wanted.layer_start, wanted.layer_end)
        terms[place] = replace(term, strength=wanted.scale, unit="alpha", layers=layers)
    await _put(call, terms)
    return Done(True)


def _terms(default: str) -> list[TermExpression]:
    return list(parse(default).terms) if default else []


def _additions(terms: Sequence[TermExpression]) -> list[int]:
    """Places of the terms that add."""
    return [place for place, term in enumerate(terms) if term.operator == "add"]


def _place(terms: Sequence[TermExpression], number: int) -> int:
    places = _additions(terms)
    if not 0 <= number < len(places):
        raise ApiError(400, f"no control vector {number}: there are {len(places)}", param="id")
    return places[number]


async def _put(call: Call[object], terms: Sequence[TermExpression]) -> None:
    """Make terms the default, once they are known to work."""
    text = "; ".join(map(str, terms))
    call.host.default = (await applied(call, text)).steering if text else ""


def _vector(call: Call[object], path: str) -> tuple[str, Vector]:
    """A vector of the library that a client names by a file: `/models/warm.gguf` is the library's `warm`."""
    said = PurePosixPath(path.replace("\\", "/")).name
    suffix = next((end for end in files.FORMATS if said.lower().endswith(end)), "")
    name = library_name(said[: len(said) - len(suffix)])
    return name, of_field("path", lambda: library_vector(name, call.host.hosted().info))


def _layers(vector: Vector, start: int | None, end: int | None) -> Layers:
    """The layers of a vector within [start, end]."""
    first, last = start or 0, end if end and end > 0 else max(vector.directions)
    layers = tuple(layer for layer in sorted(vector.directions) if first <= layer <= last)
    if not layers:
        have = ", ".join(map(str, sorted(vector.directions)))
        told = f"{shown(vector.concept)} has no layer from {first} to {last}: it has {have}"
        raise ApiError(400, told, param="layer_start")
    return Layers(layers)


def _about(model: Model, number: int, term: TermExpression) -> ControlVector:
    """A term of the default; of a dose, alpha at its first layer."""
    vector = library_vector(term.vectors[0], model.info)
    layers = sorted(term.layers.indices) or ([vector.best] if vector.best is not None else sorted(vector.directions))
    if term.layers.every:
        layers = sorted(vector.directions)
    alpha = term.strength
    if term.unit == "dose":
        first = vector.directions[layers[0] if term.source is None else term.source]
        alpha = first.alpha(term.strength, float(model.scale[layers[0]]))
    return ControlVector(number, term.vectors[0], alpha, layers[0], layers[-1], alpha != 0)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/control-vectors",
        list_control_vectors,
        "Vectors added by default",
        answer=list[ControlVector],
        errors=(503,),
    ),
    Endpoint(
        "POST",
        "/control-vectors/load",
        load_control_vector,
        "Add a vector by default",
        body=LoadVector,
        answer=Done,
        errors=(503,),
        admin=True,
    ),
    Endpoint(
        "POST",
        "/control-vectors/unload",
        unload_control_vector,
        "Add it no more",
        body=UnloadVector,
        answer=Done,
        errors=(503,),
        admin=True,
    ),
    Endpoint(
        "POST",
        "/control-vectors/apply",
        apply_control_vectors,
        "Scale vectors",
        body=list[ScaleVector],
        answer=Done,
        errors=(503,),
        admin=True,
    ),
]
