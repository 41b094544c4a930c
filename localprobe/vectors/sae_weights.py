"""Rows and columns of the matrices of a sparse autoencoder, without reading the rest: a decoder may be gigabytes.

    with opened(Path("params.npz")) as weights:
        weights.shapes["W_dec"]            # (features, width)
        weights.row("W_dec", 123)          # (width,)
        weights.column("W_enc", 123)       # (width,)

safetensors are mapped into memory; an npz, which may be compressed, is read through in pieces. Nothing is unpickled.
"""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import LocalprobeError, VectorError
from localprobe.store.names import is_file
from localprobe.suggest import one_line
from localprobe.vectors.metadata import LARGEST
from localprobe.vectors.npz import Header, header_of

Array: TypeAlias = NDArray[np.float64]
_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_MAX_HEADER = 1 << 25  # bytes of a safetensors header
_CHUNK = 1 << 22  # bytes of an npz read at a time
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class Weights(ABC):
    """The tensors of one file, by the names that SAELens and Gemma Scope give them: `W_enc`, `W_dec`, `b_enc`, ..."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._stored = {_renamed(name): name for name in shapes}
        self.shapes = {_renamed(name): tuple(shape) for name, shape in shapes.items()}
        """Name -> shape."""

    def row(self, name: str, index: int) -> Array:
        """Row `index` of a matrix, as float64."""
        return self._take(self._stored[name], index, 0)

    def column(self, name: str, index: int) -> Array:
        """Column `index` of a matrix, as float64."""
        return self._take(self._stored[name], index, 1)

    def number(self, name: str, index: int) -> float:
        """One number of a vector."""
        return float(self._take(self._stored[name], index, 0)[0])

    def whole(self, name: str) -> Array:
        """A vector as a whole, as float64."""
        return self._take(self._stored[name], 0, 1)

    @abstractmethod
    def _take(self, name: str, index: int, axis: int) -> Array:
        """The row (axis 0) or column (axis 1) of a tensor; one of one dimension is a column."""


def _renamed(name: str) -> str:
    """Gemma Scope 2 writes w_enc and w_dec."""
    return f"W{name[1:]}" if name in ("w_enc", "w_dec") else name


@contextmanager
def opened(path: Path) -> Iterator[Weights]:
    """The tensors of a safetensors file or an npz. VectorError, naming the path, for a pickled, damaged or other file,
    also if it is found so inside the block."""
    if not is_file(path):
        raise VectorError(f"no file at {path}: name the folder or the file of one sparse autoencoder")
    if path.suffix.lower() in _PICKLED:
        raise _pickled(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith(".pkl") for name in archive.namelist()):
                    raise _pickled(path)
                yield _Npz(archive)
        else:
            yield _Safetensors(path)
    except LocalprobeError:
        raise
    except Exception as error:  # safetensors, zipfile, its compressors and numpy each raise their own errors
        raise VectorError(f"{path} is not a readable safetensors or npz file: {one_line(str(error))}") from error


def _pickled(path: Path) -> VectorError:
    return VectorError(
        f"{path} is pickled, and loading that can run any code: convert it to safetensors where you trust it"
    )


class _Safetensors(Weights):
    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, framework="numpy"):  # checks that sizes and offsets agree with the file
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MAX_HEADER:
                raise ValueError(f"its header claims {length:,} bytes")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        self._path, self._start, self._header = path, 8 + length, header
        super().__init__({name: tensor["shape"] for name, tensor in header.items()})

    def _take(self, name: str, index: int, axis: int) -> Array:
        tensor = self._header[name]
        if tensor["dtype"] not in _FLOATS:
            raise VectorError(f"{self._path}: {name} is {tensor['dtype']}, not F32, F16 or BF16")
        rows, columns = _two(name, tensor["shape"])
        offset = self._start + tensor["data_offsets"][0]
        values = np.memmap(self._path, _FLOATS[tensor["dtype"]], "r", offset, (rows, columns))
        taken = np.array(values[index] if axis == 0 else values[:, index])
        if tensor["dtype"] == "BF16":  # the upper half of a float32
            taken = (taken.astype("<u4") << 16).view("<f4")
        return taken.astype(np.float64)


class _Npz(Weights):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        self._headers: dict[str, Header] = {n: header_of(archive, info) for n, info in self._members.items()}
        super().__init__({name: header.shape for name, header in self._headers.items()})

    def _take(self, name: str, index: int, axis: int) -> Array:
        header = self._headers[name]
        if header.dtype.kind not in "fiu":
            raise VectorError(f"{self._archive.filename}: {name} holds {header.dtype}, not real numbers")
        rows, columns = _two(name, header.shape)
        if header.fortran:  # the transpose, row by row
            rows, columns, axis = columns, rows, 1 - axis
        size = columns * header.dtype.itemsize
        with self._archive.open(self._members[name]) as file:
            file.seek(header.start + (index * size if axis == 0 else 0))
            if axis == 0:
                return np.frombuffer(file.read(size), header.dtype).astype(np.float64)
            step = max(1, _CHUNK // size)
            pieces = []
            for first in range(0, rows, step):
                piece = np.frombuffer(file.read(min(step, rows - first) * size), header.dtype)
                pieces.append(piece.reshape(-1, columns)[:, index].astype(np.float64))
            return np.concatenate(pieces)


def _two(name: str, shape: tuple[int, ...] | list[int]) -> tuple[int, int]:
    """A shape as (rows, columns); VectorError unless rows and columns are of a size that a model's can have."""
    if len(shape) not in (1, 2) or not 0 < min(shape) <= max(shape) <= LARGEST:
        raise VectorError(f"{name} has the shape {tuple(shape)}")
    return (shape[0], 1) if len(shape) == 1 else (shape[0], shape[1])
