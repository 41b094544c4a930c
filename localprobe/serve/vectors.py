"""`/v1/vectors`: the library's vectors by name; uploads and deletions where the server allows them."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from starlette.responses import Response

from localprobe.engine import Info
from localprobe.errors import LocalprobeError, UsageError, VectorError, first_line
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import library_name, library_vector
from localprobe.suggest import shown
from localprobe.vectors import files
from localprobe.vectors.library import Library, LibraryEntry
from localprobe.vectors.vector import Vector

SAFETENSORS, BYTES = "application/safetensors", "application/octet-stream"
_GGUF = b"GGUF"


class CalibrationAbout(Struct):
    """A threshold that was measured on neutral texts."""

    layer: int
    fpr: float
    """The share of neutral tokens, or texts, above it."""
    unit: Literal["token", "text"]
    threshold: float | None
    """None for texts, whose threshold depends on their length."""


class VectorObject(Struct):
    """A vector of the library."""

    id: str
    """Its name: what `steering` and `probes` call it."""
    concept: str
    model: str
    """What it was fitted on."""
    layers: list[int]
    best_layer: int | None
    width: int
    made_for_this_model: bool
    method: str = ""
    pooling: str = ""
    calibrated: list[CalibrationAbout] = []
    norms: dict[str, float] = {}
    """Length of each layer's direction, in residual units."""
    scale: dict[str, float] = {}
    """Median residual length of the loaded model at each layer: what a dose of 1 adds."""
    object: Literal["vector"] = "vector"


class VectorList(Struct):
    data: list[VectorObject]
    object: Literal["list"] = "list"


class Deleted(Struct):
    id: str
    deleted: bool = True
    object: Literal["vector"] = "vector"


async def list_vectors(call: Call[None]) -> VectorList:
    """The newest first; of a name that is kept for several models, each."""
    info = call.host.hosted().info
    entries = await asyncio.to_thread(Library().entries)
    usable = [entry for entry in entries if _usable(entry.name)]
    return VectorList([_about(entry.name, entry.vector, info) for entry in usable])


async def show_vector(call: Call[None]) -> VectorObject | Response:
    """What is known of a vector, or with `?format=safetensors` its file."""
    hosted = call.host.hosted()
    name, wanted = call.path["name"], call.request.query_params.get("format", "json")
    if wanted not in ("json", "safetensors"):
        raise ApiError(400, f"format {shown(wanted)}: json or safetensors", param="format")
    vector = await asyncio.to_thread(_found, name, hosted.info)
    if wanted == "safetensors":
        return Response(files.encoded(vector), media_type=SAFETENSORS)
    about = _about(name, vector, hosted.info)
    scale = (await hosted.run(lambda model: model.scale)).tolist() if about.made_for_this_model else []
    about.norms = {str(layer): float(one.norm) for layer, one in sorted(vector.directions.items())}
    about.scale = {str(layer): scale[layer] for layer in vector.directions if layer < len(scale)}
    return about


async def upload_vector(call: Call[None]) -> VectorObject:
    """Keep the vector of a safetensors file, or of a control vector in GGUF, under a name. It replaces one of that name
    for the same weights."""
    _allowed(call)
    info = call.host.hosted().info
    name = library_name(call.path["name"])
    data = await call.request.body()  # no larger than `Settings.upload`: the guard in front counts
    if not data:
        raise ApiError(400, "the body is empty: send a safetensors file, or a control vector in GGUF")
    try:
        vector = await asyncio.to_thread(_kept, data, name, info)
    except VectorError as error:
        raise ApiError(400, first_line(error), code="vector_error") from error
    return _about(name, vector, info)


async def delete_vector(call: Call[None]) -> Deleted:
    """Delete the vector of a name for the loaded model."""
    _allowed(call)
    name, info = library_name(call.path["name"]), call.host.hosted().info
    entry = await asyncio.to_thread(Library().find, name, info)
    if entry is None:
        raise ApiError(404, f"no vector {shown(name)} for {info.model} here", code="vector_not_found")
    await asyncio.to_thread(entry.path.unlink, True)
    return Deleted(name)


def _allowed(call: Call[Any]) -> None:
    if not call.settings.allow_upload:
        raise ApiError(403, "this server takes no vectors and deletes none: start it with --allow-upload")


def _kept(data: bytes, name: str, info: Info) -> Vector:
    """Read an uploaded file and keep it. VectorError for what is no vector of this model."""
    kind = ".gguf" if data.startswith(_GGUF) else ".safetensors"
    with tempfile.TemporaryDirectory(prefix="localprobe-upload-") as folder:
        path = Path(folder) / f"upload{kind}"
        path.write_bytes(data)
        try:
            vector = files.load(path)
        except (LocalprobeError, OSError, ValueError) as error:
            told = first_line(error).replace(str(path), "the uploaded file").replace(path.name, "the uploaded file")
            raise VectorError(told) from error
    vector = _owned(vector.within(info.model, info.layers, info.width), info)
    Library().keep(vector, name)
    return vector


def _owned(vector: Vector, info: Info) -> Vector:
    """A vector of no known weights, as other programs write them, belongs to the model that it was uploaded for."""
    if vector.origin.weights:
        return vector
    return replace(vector, origin=replace(vector.origin, model=info.model, weights=info.weights, width=info.width))


def _found(name: str, info: Info) -> Vector:
    try:
        return library_vector(name, info)
    except (VectorError, UsageError) as error:
        raise ApiError(404, first_line(error), code="vector_not_found") from error


def _usable(name: str) -> bool:
    """Whether a name of the library can be said over the API."""
    try:
        return bool(library_name(name))
    except ApiError:
        return False


def _about(name: str, vector: Vector, info: Info) -> VectorObject:
    origin = vector.origin
    entry = LibraryEntry(name, Path(), vector)
    return VectorObject(
        name,
        vector.concept,
        origin.model,
        sorted(vector.directions),
        vector.best,
        origin.width or info.width,
        entry.made_for(info),
        origin.method,
        origin.pooling,
        [
            CalibrationAbout(layer, one.fpr, one.unit, one.at() if one.unit == "token" else None)
            for layer, direction in sorted(vector.directions.items())
            for one in direction.calibrations
        ],
    )


_UPLOADS = (SAFETENSORS, BYTES)
ENDPOINTS = [
    Endpoint("GET", "/v1/vectors", list_vectors, "The vectors of the library", answer=VectorList, errors=(503,)),
    Endpoint(
        "GET",
        "/v1/vectors/{name}",
        show_vector,
        "One vector",
        answer=VectorObject,
        gives=(SAFETENSORS,),
        errors=(400, 404, 503),
        query=("format",),
    ),
    Endpoint(
        "PUT",
        "/v1/vectors/{name}",
        upload_vector,
        "Keep an uploaded vector",
        takes=_UPLOADS,
        answer=VectorObject,
        errors=(503,),
        status=201,
    ),
    Endpoint("DELETE", "/v1/vectors/{name}", delete_vector, "Delete a vector", answer=Deleted, errors=(400, 404, 503)),
]
