"""Tensors of safetensors files, read and written one at a time, without losing their type.

The files are read as bytes because numpy has no bfloat16, whose numbers are the upper halves of float32's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localprobe.baking.subspace import Basis, without
from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.models.checkpoint import read_header
from localprobe.store import safetensors_file
from localprobe.suggest import shown

_RAW: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Type of safetensors -> how its bytes are read."""
NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_PIECE = 1 << 22  # numbers computed at once: 32 MB as float64
_COPIED = 1 << 24  # bytes copied at once


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a safetensors file."""

    name: str
    path: Path
    dtype: str
    """As safetensors calls it: `F32`, `BF16`, ..."""
    shape: tuple[int, ...]
    offset: int
    """Its first byte in the file."""
    size: int
    """Bytes."""

    def read(self) -> NDArray[Any]:
        """The tensor, bfloat16 as uint16. UnsupportedModel for a type that is no plain float."""
        if self.dtype not in _RAW:
            raise UnsupportedModel(
                f"the tensor {shown(self.name)} is stored as {shown(self.dtype)[1:-1]}, in which a removal cannot be "
                "written: bake the original weights, then quantise the result"
            )
        kind = _RAW[self.dtype]
        return np.fromfile(self.path, kind, self.size // kind.itemsize, offset=self.offset).reshape(self.shape)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, some megabytes at a time."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, self.size, _COPIED):
                yield file.read(min(_COPIED, self.size - start))


def tensors(files: Iterable[Path]) -> dict[str, Stored]:
    """Every tensor of safetensors files by name, in the order of the files' bytes. Raises CorruptFile, also for a name
    that two files hold, of which loaders would take either."""
    found: dict[str, Stored] = {}
    for path in files:
        header = read_header(path)
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            if name in found:
                raise CorruptFile(
                    f"{found[name].path} and {path.name} both hold the tensor {shown(name)}: "
                    "remove the file that is not the model's"
                )
            begin, end = entry["data_offsets"]
            found[name] = Stored(name, path, entry["dtype"], tuple(entry["shape"]), start + begin, end - begin)
    return found


@dataclass(frozen=True, slots=True)
class Edit:
    """A removal to write into tensors."""

    directions: Basis
    share: float

    def apply(self, stored: Stored, axis: int) -> NDArray[Any]:
        """The tensor as it is stored, less `share` of its part in the subspace along `axis` (-1 or -2).

        Computed in float64 and rounded back. CorruptFile if it holds NaN or infinity.
        """
        raw = stored.read()
        edited = np.empty_like(raw)
        width = raw.shape[axis]
        if axis == -1:
            self._rows(stored, raw.reshape(-1, width), edited.reshape(-1, width))
        else:
            inputs = raw.shape[-1]
            for matrix, into in zip(raw.reshape(-1, width, inputs), edited.reshape(-1, width, inputs), strict=True):
                self._rows(stored, matrix.T, into.T)
        return edited

    def _rows(self, stored: Stored, raw: NDArray[Any], into: NDArray[Any]) -> None:
        """Edit rows (n, width) into another array of that shape."""
        step = max(1, _PIECE // raw.shape[1])
        for start in range(0, len(raw), step):
            rows = _floats(raw[start : start + step], stored.dtype)
            if not np.isfinite(rows).all():
                raise CorruptFile(
                    f"{stored.path}: the tensor {shown(stored.name)} holds NaN or infinity: fetch it again"
                )
            into[start : start + step] = _rounded(without(rows, self.directions, self.share), stored)


def _floats(raw: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return raw.astype(np.float64)


def _rounded(values: NDArray[np.float64], stored: Stored) -> NDArray[Any]:
    """Values as the tensor's type stores them, rounded to the nearest, ties to even."""
    if stored.dtype == "BF16":
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):
        rounded = values.astype(_RAW[stored.dtype])
    if not np.isfinite(rounded).all():
        raise UnsupportedModel(f"the tensor {shown(stored.name)} without the direction exceeds {NAMES[stored.dtype]}")
    return rounded


@dataclass(frozen=True, slots=True)
class Written:
    """A tensor to write: what its place in a header says, and its bytes when their turn comes."""

    name: str
    like: Stored
    """The tensor whose type and shape it has."""
    pieces: Callable[[], Iterable[Any]]


def write(path: Path, written: Sequence[Written], metadata: dict[str, str], count: Callable[[int], None]) -> str:
    """Write a safetensors file, flushed to the disk. Returns its SHA-256; `count` is called with bytes just written."""
    pieces = (piece for tensor in written for piece in tensor.pieces())
    return safetensors_file.write(path, _header(written, metadata), pieces, count)


def _header(written: Sequence[Written], metadata: dict[str, str]) -> dict[str, Any]:
    entries: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for tensor in written:
        end = at + tensor.like.size
        entries[tensor.name] = {"dtype": tensor.like.dtype, "shape": tensor.like.shape, "data_offsets": [at, end]}
        at = end
    return entries
