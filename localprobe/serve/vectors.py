"""`/v1/vectors`: the library's vectors by name; uploads and deletions where the server allows them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from localprobe.engine import Info
from localprobe.errors import LocalprobeError, ModelError, VectorError, first_line
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import library_entry, library_name
from localprobe.steering.lexer import unusable
from localprobe.steering.parser import parse
from localprobe.suggest import shown
from localprobe.vectors import files
from localprobe.vectors.library import Library, LibraryEntry
from localprobe.vectors.vector import Vector

SAFETENSORS = "application/safetensors"
UPLOADS = (SAFETENSORS, "application/octet-stream")
LONGEST_NAME = 200
"""Characters."""
_ZIP = b"PK\x03\x04"


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
    method: str
    pooling: str
    calibrated: list[CalibrationAbout]
    norms: dict[str, float] | UnsetType = UNSET
    """Length of each layer's direction before it was normalised, in residual units. Not in lists."""
    scale: dict[str, float] | UnsetType = UNSET
    """Median residual length of the loaded model at each layer: what a dose of 1 adds. Not in lists."""
    object: Literal["vector"] = "vector"


class VectorList(Struct):
    data: list[VectorObject]
    object: Literal["list"] = "list"


class Deleted(Struct):
    id: str
    deleted: bool = True
    object: Literal["vector"] = "vector"


async def list_vectors(call: Call[None]) -> VectorList:
    """The newest first; of a name that is kept for several models, each. `made_for_this_model` is of the model that
    answers requests which name none."""
    info = call.host.hosted().info
    entries = await asyncio.to_thread(Library().entries)
    return VectorList([_about(entry, info) for entry in entries if _sayable(entry.name)])


async def show_vector(call: Call[None]) -> VectorObject | Response:
    """What is known of a vector, or with `?format=safetensors` its file."""
    hosted = call.host.hosted()
    wanted = call.request.query_params.get("format", "json")
    if wanted not in ("json", "safetensors"):
        raise ApiError(400, f"format {shown(wanted)}: json or safetensors", param="format")
    entry = await _entry(call)
    if wanted == "safetensors":
        return Response(files.encoded(entry.vector), media_type=SAFETENSORS)
    about = _about(entry, hosted.info)
    about.norms = {str(layer): float(one.norm) for layer, one in sorted(entry.vector.directions.items())}
    scale = await hosted.run(lambda model: model.scale)
    about.scale = {str(layer): float(scale[layer]) for layer in about.layers if layer < len(scale)}
    return about


async def upload_vector(call: Call[None]) -> VectorObject:
    """Keep the vector of a safetensors file, or of a control vector in GGUF, under a name. It replaces one of that name
    for the same weights."""
    _allowed(call)
    name, info = _name(call), call.host.hosted().info
    most = call.settings.upload
    told = call.request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > most:
        raise _too_large(most)
    with received(Library().folder) as path:
        size = 0
        with path.open("wb") as file:
            async for chunk in call.request.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                file.write(chunk)
        entry = await asyncio.to_thread(_kept, path, name, info)
    return _about(entry, info)


async def delete_vector(call: Call[None]) -> Deleted:
    """Delete the vector of a name for the loaded model."""
    _allowed(call)
    entry = await _entry(call)
    if call.host.default and entry.name in parse(call.host.default).names:
        told = f"the default steering uses {shown(entry.name)}: change it with PUT /v1/steering first"
        raise ApiError(409, told, code="vector_in_use")
    await asyncio.to_thread(entry.path.unlink, True)
    return Deleted(entry.name)


@contextmanager
def received(folder: Path) -> Iterator[Path]:
    """A path for an upload, in a folder of its own within the library's, that is removed when the block ends. The
    library looks at none of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".upload-", ignore_cleanup_errors=True) as own:
            yield Path(own, "the upload")  # as messages call it
    except OSError as error:
        raise ApiError(500, f"the library cannot be written: {error.strerror}") from error


def _allowed(call: Call[Any]) -> None:
    if not call.settings.allow_upload:
        raise ApiError(403, "this server takes no vectors and deletes none: start it with --allow-upload")


def _name(call: Call[Any]) -> str:
    """The name in the path of a request. ApiError 400 for one that the steering language cannot say, or a path."""
    name = call.path["name"]
    if fault := unusable(name):
        raise ApiError(400, f"the name {shown(name)} {fault}", code="vector_name")
    if len(name) > LONGEST_NAME:
        raise ApiError(400, f"the name has {len(name)} characters: {LONGEST_NAME} are the most", code="vector_name")
    return library_name(name)


async def _entry(call: Call[Any]) -> LibraryEntry:
    """The vector that the path names, for the loaded model. ApiError 404 if there is none."""
    name, info = _name(call), call.host.hosted().info
    try:
        return await asyncio.to_thread(library_entry, name, info)
    except VectorError as error:
        raise ApiError(404, first_line(error), code="vector_not_found") from error


def _kept(path: Path, name: str, info: Info) -> LibraryEntry:
    """Read an uploaded file, and keep its vector. ApiError 400 for what is no vector of this model."""
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) == _ZIP:
                raise VectorError("the upload is a zip or npz file: send safetensors, or a control vector in GGUF")
        vector = _owned(files.load(path).within(info.model, info.layers, info.width), name, info)
        if not LibraryEntry(name, path, vector).made_for(info):
            raise VectorError(f"the upload was made for {shown(vector.origin.model)}, not for {info.model}")
    except (VectorError, ModelError) as error:
        told = first_line(error).replace(str(path), path.name)
        raise ApiError(400, told, code="vector_error") from error
    try:
        return LibraryEntry(name, Library().keep(vector, name), vector)
    except LocalprobeError as error:
        why = getattr(error.__cause__, "strerror", None) or "see the server's disk"
        raise ApiError(500, f"the library cannot be written: {why}") from error


def _owned(vector: Vector, name: str, info: Info) -> Vector:
    """A vector as it is kept. One of no known weights, as other programs write them, belongs to the model that it was
    uploaded for. It is called as it was uploaded if it has no name of its own, or if no file can have its name."""
    origin, concept = vector.origin, vector.concept
    if not origin.version or not concept or Library().path(name, "").stem.rpartition("@")[0] != name:
        concept = name
    if not origin.weights:
        origin = replace(origin, model=info.model, weights=info.weights, width=info.width)
    return replace(vector, origin=origin, concept=concept)


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the upload is larger than {most} bytes", code="body_too_large")


def _sayable(name: str) -> bool:
    """Whether a name of the library can be said over the API."""
    try:
        return bool(library_name(name)) and not unusable(name)
    except ApiError:
        return False


def _about(entry: LibraryEntry, info: Info) -> VectorObject:
    vector, origin = entry.vector, entry.vector.origin
    layers = sorted(vector.directions)
    return VectorObject(
        entry.name,
        vector.concept,
        Path(origin.model).name if Path(origin.model).is_absolute() else origin.model,  # no folder of this machine
        layers,
        vector.best,
        len(vector.directions[layers[0]].vector),
        entry.made_for(info),
        origin.method,
        origin.pooling,
        [
            CalibrationAbout(layer, one.fpr, one.unit, one.at() if one.unit == "token" else None)
            for layer in layers
            for one in vector.directions[layer].calibrations
        ],
    )


ENDPOINTS = [
    Endpoint("GET", "/v1/vectors", list_vectors, "The vectors of the library", answer=VectorList, errors=(404, 503)),
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
        takes=UPLOADS,
        answer=VectorObject,
        errors=(404, 503),
        status=201,
    ),
    Endpoint(
        "DELETE",
        "/v1/vectors/{name}",
        delete_vector,
        "Delete a vector",
        answer=Deleted,
        errors=(400, 404, 409, 503),
    ),
]
