"""Vectors as npz, for numpy without localprobe: one array `direction.<layer>` per layer, and metadata. No pickle."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from localprobe.errors import VectorError
from localprobe.suggest import one_line
from localprobe.vectors import metadata
from localprobe.vectors.vector import Vector

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MAX_TEXT = 1 << 26  # bytes


def save_npz(vector: Vector, path: Path) -> None:
    """Write float32 arrays `direction.<layer>` (width,) and the metadata as an array of one string, atomically.

    LocalprobeError if writing fails.
    """
    from localprobe.store.files import write_whole

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        **metadata.tensors_of(vector),
        metadata.KEY: np.array(metadata.text_of(vector)),
    }
    np.savez(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def load_npz(path: Path) -> Vector:
    """Read what `save_npz` wrote. VectorError for a damaged file, pickled objects, or another program's file.

    Sizes are checked in the zip's directory and in the header of each array before an array is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            text = _text(archive, members)
            shapes = {
                name: header_of(archive, info).shape for name, info in members.items() if metadata.is_tensor(name)
            }
            metadata.check_shapes(path, text, shapes)
            arrays = {name: _array(archive, members[name]) for name in shapes}
    except (VectorError, MemoryError):
        raise
    except _Foreign as error:
        raise VectorError(f"{path} is an npz file, but not a vector of localprobe: {error}") from error
    except Exception as error:  # zipfile, its compressors, and numpy's reader of headers each raise their own errors
        raise VectorError(
            f"{path} is not a readable npz file (torn, or with pickled objects in it): {one_line(str(error))}"
        ) from error
    return metadata.read(path, text, arrays)


class _Foreign(Exception):
    """The file is no vector of ours."""


class Header(NamedTuple):
    """What an array of an npz says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    """Whether it is stored column by column."""
    start: int
    """Bytes before its numbers."""


def header_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    """Shape and dtype of an array that is as long as the zip's directory says. ValueError otherwise."""
    with archive.open(info) as file:
        version = npy.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"{info.filename} has version {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = _READERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects")
        start = file.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - start:
            raise ValueError(f"{info.filename} has the shape {shape} of {dtype} in {info.file_size} bytes")
    return Header(shape, dtype, fortran, start)


def _text(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> str:
    info = members.get(metadata.KEY)
    if info is None:
        raise _Foreign(f"it lacks {metadata.KEY!r}")
    header = header_of(archive, info)
    if header.shape or header.dtype.kind != "U" or info.file_size > _MAX_TEXT:
        raise _Foreign(f"{metadata.KEY!r} is not a text")
    return str(_array(archive, info))


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        return np.asarray(npy.read_array(file, allow_pickle=False))
