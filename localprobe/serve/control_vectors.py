"""`/control-vectors`, as ik_llama.cpp's server has them, for clients with sliders: what the default steering adds.

A client names a vector by its file. Of that path the last part counts, without its suffix, as a name of the library; no
file is opened. Number n is the n-th addition of the default steering, a scale is alpha, and the layers are those of the
vector from `layer_start` to `layer_end`, both included. The other terms of the default stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, structs

from localprobe.model import Model
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import library_name, library_vector, noticing, of_field
from localprobe.serve.steering import applied
from localprobe.serve.types import Strict
from localprobe.steering.expression import TermExpression
from localprobe.steering.lexer import unusable
from localprobe.steering.parser import parse
from localprobe.steering.places import Layers
from localprobe.suggest import shown
from localprobe.vectors import files
from localprobe.vectors.vector import Vector

LayerNumber = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)] | None


class ControlVector(Struct):
    """A vector that is added to every token of requests that name no steering."""

    id: int
    path: str
    """As it was loaded; the vector's name if another call made it the default."""
    scale: float
    layer_start: int
    layer_end: int
    applied: bool
    """Whether its scale is not 0."""


class LoadVector(Strict):
    """The body of `POST /control-vectors/load`."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    scale: float = 1.0
    layer_start: LayerNumber = None
    """The model's first layer if not given, or not positive."""
    layer_end: LayerNumber = None
    """The model's last layer if not given, or not positive."""


class ScaleVector(Strict):
    """One vector of the body of `POST /control-vectors/apply`; those that are not named stay as they are."""

    id: int
    scale: float
    layer_start: LayerNumber = None
    layer_end: LayerNumber = None


ScaleVectors: TypeAlias = Annotated[list[ScaleVector], Meta(max_length=64)]
"""As many as a steering has terms."""


class UnloadVector(Strict):
    """The body of `POST /control-vectors/unload`."""

    id: int


class Done(Struct):
    success: bool


class Loaded(Struct):
    success: bool
    id: int


@dataclass(slots=True)
class Sliders:
    """The additions of a default steering as clients set them: paths and layers as they wrote them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the default changes: sliders send faster than they are answered."""
    default: str = ""
    """The steering that these calls made; if it is another by now, `vectors` says nothing of it."""
    vectors: list[ControlVector] = field(default_factory=list)


async def list_control_vectors(call: Call[None]) -> list[ControlVector]:
    return (await _sliders(call))[1]


async def load_control_vector(call: Call[LoadVector]) -> Loaded:
    async with _known(call).lock:
        body = call.body
        terms, vectors = await _sliders(call)
        name, vector = _found(call, body.path)
        start, end = _range(call, body.layer_start, body.layer_end)
        terms.append(TermExpression("add", body.scale, "alpha", (name,), layers=_layers(vector, start, end)))
        vectors.append(ControlVector(len(vectors), body.path, body.scale, start, end, body.scale != 0))
        await _put(call, terms, vectors)
        return Loaded(True, len(vectors) - 1)


async def unload_control_vector(call: Call[UnloadVector]) -> Done:
    async with _known(call).lock:
        terms, vectors = await _sliders(call)
        del terms[_place(terms, call.body.id)], vectors[call.body.id]
        await _put(call, terms, [structs.replace(vector, id=number) for number, vector in enumerate(vectors)])
        return Done(True)


async def apply_control_vectors(call: Call[ScaleVectors]) -> Done:
    async with _known(call).lock:
        terms, vectors = await _sliders(call)
        for wanted in call.body:
            place = _place(terms, wanted.id)
            term, vector = terms[place], vectors[wanted.id]
            layers, start, end = term.layers, vector.layer_start, vector.layer_end
            if wanted.layer_start is not None or wanted.layer_end is not None:
                start, end = _range(call, wanted.layer_start, wanted.layer_end)
                layers = _layers(library_vector(term.vectors[0], call.host.hosted().info), start, end)
            terms[place] = replace(term, strength=wanted.scale, unit="alpha", layers=layers)
            vectors[wanted.id] = ControlVector(wanted.id, vector.path, wanted.scale, start, end, wanted.scale != 0)
        await _put(call, terms, vectors)
        return Done(True)


async def _sliders(call: Call[Any]) -> tuple[list[TermExpression], list[ControlVector]]:
    """The terms of the default steering, and its additions as clients see them."""
    default, known = call.host.default, _known(call)
    terms = list(parse(default).terms) if default else []
    if known.default == default:
        return terms, list(known.vectors)
    added = [term for term in terms if term.operator == "add"]
    if not added:
        return terms, []
    run = call.host.hosted().run
    return terms, await run(lambda model: [_described(model, number, term) for number, term in enumerate(added)])


def _known(call: Call[Any]) -> Sliders:
    sliders: Sliders = call.request.app.state.sliders
    return sliders


async def _put(call: Call[Any], terms: Sequence[TermExpression], vectors: list[ControlVector]) -> None:
    """Make terms the default, once they are known to work on the loaded model."""
    default = (await applied(call, "; ".join(map(str, terms)))).steering
    known = _known(call)
    call.host.default = known.default = default
    known.vectors = vectors


def _place(terms: Sequence[TermExpression], number: int) -> int:
    """Where the n-th addition is among the terms. ApiError 400 if there is none."""
    places = [place for place, term in enumerate(terms) if term.operator == "add"]
    if not 0 <= number < len(places):
        raise ApiError(400, f"no control vector {number}: GET /control-vectors lists {len(places)}", param="id")
    return places[number]


def _found(call: Call[Any], path: str) -> tuple[str, Vector]:
    """The vector of the library that a client names by a file: `/models/warm.gguf` is `warm`. ApiError 400."""
    file = PurePosixPath(path.replace("\\", "/")).name
    suffix = next((ending for ending in files.FORMATS if file.lower().endswith(ending)), "")
    name = of_field("path", lambda: library_name(file[: len(file) - len(suffix)]))
    if fault := unusable(name):
        raise ApiError(400, f"the name of a vector in {shown(path)} {fault}", param="path")
    return name, of_field("path", lambda: library_vector(name, call.host.hosted().info))


def _range(call: Call[Any], start: int | None, end: int | None) -> tuple[int, int]:
    """The first and the last layer that a client asks for; all of the model's if it does not say."""
    first = start if start is not None and start > 0 else 0
    return first, end if end is not None and end > 0 else call.host.hosted().info.layers - 1


def _layers(vector: Vector, start: int, end: int) -> Layers:
    """The layers of a vector from `start` to `end`. ApiError 400 if it has none there."""
    found = tuple(layer for layer in sorted(vector.directions) if start <= layer <= end)
    if not found:
        told = f"{shown(vector.concept)} has no layer from {start} to {end}: it has {vector.span}"
        raise ApiError(400, told, param="layer_start")
    return Layers(found)


def _described(model: Model, number: int, term: TermExpression) -> ControlVector:
    """A term of the default that another call made; of a dose, alpha at its first layer."""
    with noticing():
        knobs = model.steering(str(term), find=lambda name: library_vector(name, model.info))
    layers = sorted(layer for one in knobs for layer in one.reach)
    alpha = knobs[0].alpha
    return ControlVector(number, term.vectors[0], alpha, layers[0], layers[-1], alpha != 0)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/control-vectors",
        list_control_vectors,
        "Vectors that are added by default",
        answer=list[ControlVector],
        errors=(400, 404, 503),
    ),
    Endpoint(
        "POST",
        "/control-vectors/load",
        load_control_vector,
        "Add a vector by default",
        body=LoadVector,
        answer=Loaded,
        errors=(404, 503),
        admin=True,
    ),
    Endpoint(
        "POST",
        "/control-vectors/unload",
        unload_control_vector,
        "Add a vector no longer",
        body=UnloadVector,
        answer=Done,
        errors=(404, 503),
        admin=True,
    ),
    Endpoint(
        "POST",
        "/control-vectors/apply",
        apply_control_vectors,
        "Scale vectors that are added by default",
        body=ScaleVectors,
        answer=Done,
        errors=(404, 503),
        admin=True,
    ),
]
