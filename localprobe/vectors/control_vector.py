"""Control vectors of llama.cpp and repeng: GGUF files with one F32 tensor `direction.<layer>` per layer.

`direction.b` is added to the residual after block b, in llama.cpp as here. llama.cpp cannot reach block 0; repeng can,
and writes `direction.0` for it, which is read so. A direction that is zero is left out, with a notice. Our own files
also hold our metadata, which other programs ignore, so that loading them again loses nothing.

A file of another program does not say after which block a direction was *measured*: repeng names it by that block, but
llama.cpp's `cvector-generator` one block later. `load_gguf` reads a file as llama.cpp applies it; `measured` moves
each direction to where it was measured.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import ModelError, UsageError, VectorError
from localprobe.suggest import shown
from localprobe.vectors import metadata
from localprobe.vectors.vector import Direction, Origin, Vector, length, steering
from localprobe.version import __version__

PROGRAMS: Mapping[str, int] = MappingProxyType({"repeng": 0, "cvector-generator": 1})
"""Program that writes control vectors -> number of blocks between the measurement of a direction and its name."""
_KEY = f"{metadata.KEY}.vector"
_VERSION = f"{metadata.KEY}.version"


def save_gguf(vector: Vector, path: Path) -> None:
    """Write a control vector for llama.cpp and repeng, atomically. At strength 1 they add it unscaled.

    The format has no place for a probe: it is left out, with its threshold (`unread`). VectorError for a direction at
    block 0; LocalprobeError if writing fails.
    """
    from localprobe.store.files import replacing

    vector = unread(vector)
    if 0 in vector.directions:
        others = sorted(vector.directions.keys() - {0})
        instead = f"give `layers` without it, {_written(others)}" if others else "give other `layers`"
        raise VectorError(f"a control vector cannot reach block 0, where {vector.concept} has a direction: {instead}")
    with replacing(path) as temporary:
        try:
            _write(vector, temporary)
        except OSError as error:  # numpy reports a short write without a reason
            raise OSError(error.errno or errno.ENOSPC, error.strerror or "the disk took only part of it") from error


def unread(vector: Vector) -> Vector:
    """The vector without probes; a threshold along a probe says nothing about the direction, and is 0 (unknown)."""
    left = {
        layer: direction if direction.probe is None else replace(direction, probe=None, threshold=0.0)
        for layer, direction in vector.directions.items()
    }
    return replace(vector, directions=left)


def _write(vector: Vector, path: Path) -> None:
    from gguf import GGUFWriter

    with closing(GGUFWriter(path, "controlvector")) as writer:
        # The writer omits empty strings, and repeng rejects a file without this field.
        writer.add_string("controlvector.model_hint", vector.origin.architecture or "unknown")
        writer.add_uint32("controlvector.layer_count", len(vector.directions))
        writer.add_string(_VERSION, __version__)
        writer.add_string(_KEY, metadata.text_of(vector))
        for name, tensor in metadata.tensors_of(vector).items():
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def _written(layers: Sequence[int]) -> str:
    """Layers as the command line takes them: `8-24`, or `3,8`."""
    whole = len(layers) > 2 and layers[-1] - layers[0] == len(layers) - 1
    return f"{layers[0]}-{layers[-1]}" if whole else ",".join(map(str, layers))


def load_gguf(path: Path) -> Vector:
    """Read a control vector. VectorError if the file is damaged, is a model, or holds no direction that steers."""
    from localprobe.gguf import read_header

    try:
        header = read_header(path)
        kind = header.architecture
        ours = header.value(_KEY, str)
        hint = header.value("controlvector.model_hint", str) or ""
    except ModelError as error:
        raise VectorError(f"{path} is not a readable control vector: {error}") from error
    if kind != "controlvector":
        raise VectorError(f"{path} is a GGUF file of a {shown(kind)[1:-1]} model, not a control vector")
    tensors = {}
    named = [tensor for tensor in header.tensors.values() if re.fullmatch(r"direction\.\d+", tensor.name, re.ASCII)]
    try:
        metadata.check_total(tensor.shape for tensor in named)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    for tensor in named:
        if tensor.type.name != "F32":
            raise VectorError(f"{path}: {tensor.name} is {tensor.type.name}; llama.cpp takes F32 only")
        values = np.fromfile(path, dtype="<f4", count=tensor.count, offset=tensor.offset)
        tensors[tensor.name] = values.reshape(tensor.shape)
    if ours is not None:
        return metadata.read(path, ours, tensors)
    if not tensors:
        raise VectorError(f"{path} holds no tensor named direction.<layer>")
    return _foreign(path, hint, tensors)


def _foreign(path: Path, hint: str, tensors: Mapping[str, FloatArray]) -> Vector:
    """A file of another program, as llama.cpp applies it."""
    held: dict[int, FloatArray] = {}
    try:
        for name, tensor in tensors.items():
            layer = int(name.removeprefix("direction."))
            if layer in held:
                raise VectorError(f"it has two directions for layer {layer}")
            held[layer] = tensor
        vectors, notices = steering(held)
        directions = {b: Direction(vector, norm=length(vector)) for b, vector in vectors.items()}
        metadata.check_directions(directions)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    width = len(next(iter(vectors.values())))
    origin = Origin(model="", architecture=hint, width=width, method="control vector", version="")
    only = next(iter(directions)) if len(directions) == 1 else None
    return Vector(path.stem, origin, directions, only, tuple(f"{path.name}: {notice}" for notice in notices))


def measured(vector: Vector, program: str | None) -> Vector:
    """Move every direction of a control vector to the layer after which it was measured.

    `program`, one of PROGRAMS, wrote the file. UsageError if it is missing, or given for a file of our own, which needs
    no move; VectorError if a direction would lie before block 0.
    """
    if vector.origin.version:
        if program is None:
            return vector
        raise UsageError(
            f"{vector.concept!r} is a vector of localprobe, which knows where it was measured: give no `program`"
        )
    if program is None:
        raise UsageError(
            f"{vector.concept!r} does not say after which block its directions were measured. Name the program that "
            "wrote it: `program` repeng if direction.b was measured after block b, as repeng does; `program` "
            "cvector-generator if after block b - 1, as llama.cpp's generator does"
        )
    if program not in PROGRAMS:
        raise UsageError(f"no program {program!r} is known to write control vectors: there are {', '.join(PROGRAMS)}")
    late = PROGRAMS[program]
    if min(vector.directions) < late:
        raise VectorError(f"{vector.concept!r} has a direction at block 0, and {program} measures none before that")
    directions = {layer - late: direction for layer, direction in vector.directions.items()}
    origin = replace(vector.origin, method=f"control vector of {program}", version=__version__)
    best = None if vector.best is None else vector.best - late
    return replace(vector, origin=origin, directions=directions, best=best)
