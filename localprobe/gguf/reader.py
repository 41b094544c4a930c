"""Reading the header of an untrusted GGUF file, without tensor data.

Layout (versions 2 and 3, little endian): magic, version, counts, key-value pairs, tensor infos, padding, data.
A file may be damaged, truncated or hostile, so every count and length is checked against the remaining bytes before
anything of that size is allocated, and every tensor must lie inside the file, aligned, without overlap.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import CorruptFile, ModelError, UnknownModel, UnsupportedModel
from localprobe.gguf.header import Header, TensorInfo, Value
from localprobe.suggest import shown

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

MAX_HEADER = 1 << 28  # bytes; Gemma's vocabulary of 262,144 tokens takes 8 MB
MAX_PAIRS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_STRINGS = 1 << 22  # in one array
MAX_KEY = 256
MAX_NAME = 64  # ggml's own limit
MAX_DIMENSIONS = 4

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def read_header(path: Path | str) -> Header:
    """Read metadata and tensor infos, in 0.03 s for SmolLM2 and 0.1 s for Gemma's vocabulary.

    Raises UnknownModel if there is no such file, CorruptFile if it is damaged, truncated or hostile, UnsupportedModel
    for another GGUF version, byte order or tensor type.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return Reader(path, file).header()
    except FileNotFoundError as error:
        raise UnknownModel(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


class Reader:
    """A position in the file, and the end of the readable range."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = file.seek(0, 2)
        self.end = min(self.size, MAX_HEADER)
        self.at = file.seek(0)

    def header(self) -> Header:
        version = self._version()
        tensor_count = self._count("tensors", MAX_TENSORS, 24)
        pair_count = self._count("metadata pairs", MAX_PAIRS, 13)
        metadata: dict[str, Value] = {}
        for index in range(pair_count):
            key = self._name(f"the key of metadata pair {index}", MAX_KEY)
            if key in metadata:
                raise self._corrupt(f"the metadata key {key!r} comes twice")
            metadata[key] = self._value(key)
        tensors = self._tensors(tensor_count, self._alignment(metadata))
        return Header(self.path, self.size, version, metadata, tensors)

    def _version(self) -> int:
        magic = self.file.read(4)
        if magic != b"GGUF":
            raise CorruptFile(f"{self.path} is not a GGUF file: it starts with {magic!r}")
        self.at = 4
        version = int.from_bytes(self._take(4, "the version"), "little")
        if version and version & 0xFFFF == 0:
            raise UnsupportedModel(f"{self.path} is a big-endian GGUF file: get the little-endian one")
        if version not in (2, 3):
            raise UnsupportedModel(f"{self.path} is GGUF version {version}: only 2 and 3 are known, convert it again")
        return version

    def _corrupt(self, what: str) -> CorruptFile:
        return CorruptFile(f"{self.path} is damaged or not to be trusted: {what} (byte {self.at:,}); download it again")

    def _truncated(self, what: str, missing: int) -> CorruptFile:
        if self.end < self.size:
            return self._corrupt(f"its header goes on past {MAX_HEADER:,} bytes, inside {what}")
        return CorruptFile(
            f"{self.path} is cut short: it ends at byte {self.size:,} inside {what}, "
            f"at least {missing:,} bytes are missing; download it again"
        )

    def _need(self, size: int, what: str) -> None:
        if size > self.end - self.at:
            raise self._truncated(what, size - (self.end - self.at))

    def _take(self, size: int, what: str) -> bytes:
        self._need(size, what)
        self.at += size
        return self.file.read(size)

    def _integer(self, size: int, what: str) -> int:
        return int.from_bytes(self._take(size, what), "little")

    def _count(self, what: str, limit: int, least: int) -> int:
        """A count of items of at least `least` bytes."""
        count = self._integer(8, f"the number of {what}")
        if count > limit:
            raise self._corrupt(f"it claims {count:,} {what}, no real file has more than {limit:,}")
        self._need(count * least, what)
        return count

    def _string(self, what: str, limit: int = MAX_HEADER) -> str:
        length = self._integer(8, what)
        if length > limit:
            raise self._corrupt(f"{what} claims to be {length:,} bytes long")
        return self._take(length, what).decode("utf-8", "replace")

    def _name(self, what: str, limit: int) -> str:
        name = self._string(what, limit)
        if not name.isprintable():
            raise self._corrupt(f"{what} is {shown(name)}")
        return name

    def _value(self, key: str) -> Value:
        kind = self._integer(4, f"the type of {key}")
        if kind == _STRING:
            return self._string(key)
        if kind == _ARRAY:
            return self._array(key)
        scalar = struct.Struct("<" + self._format(kind, key))
        value: int | float | bool = scalar.unpack(self._take(scalar.size, key))[0]
        return value

    def _format(self, kind: int, key: str) -> str:
        if kind not in _SCALARS:
            raise self._corrupt(f"{key} has the unknown type {kind}" if kind != _ARRAY else f"{key} nests arrays")
        return _SCALARS[kind]

    def _array(self, key: str) -> list[str] | NDArray[Any]:
        kind = self._integer(4, f"the element type of {key}")
        if kind == _STRING:
            return self._strings(self._count(f"strings in {key}", MAX_STRINGS, 8), key)
        dtype = np.dtype(self._format(kind, key)).newbyteorder("<")
        count = self._count(f"numbers in {key}", MAX_HEADER, dtype.itemsize)
        data = np.frombuffer(self._take(count * dtype.itemsize, key), dtype)
        return data != 0 if kind == 7 else data

    def _strings(self, count: int, key: str) -> list[str]:
        """Written for speed: the vocabulary is the one large part of a header."""
        read, left = self.file.read, self.end - self.at
        texts = []
        for index in range(count):
            left -= 8
            length = int.from_bytes(read(8), "little") if left >= 0 else 0
            left -= length
            if left < 0:
                self.at = self.end
                raise self._truncated(f"string {index:,} of {key}", -left)
            texts.append(read(length))
        self.at = self.end - left
        return [text.decode("utf-8", "replace") for text in texts]

    def _alignment(self, metadata: dict[str, Value]) -> int:
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self._corrupt(f"general.alignment is {shown(alignment)}, not a power of two")
        return alignment

    def _tensors(self, count: int, alignment: int) -> dict[str, TensorInfo]:
        infos: dict[str, TensorInfo] = {}
        for index in range(count):
            info = self._tensor(index, alignment)
            if info.name in infos:
                raise self._corrupt(f"the tensor {info.name!r} comes twice")
            infos[info.name] = info
        start = -(-self.at // alignment) * alignment
        placed = {name: _moved(info, start) for name, info in infos.items()}
        self._check_places(placed)
        return placed

    def _tensor(self, index: int, alignment: int) -> TensorInfo:
        name = self._name(f"the name of tensor {index}", MAX_NAME)
        rank = self._integer(4, f"the rank of {name}")
        if not 1 <= rank <= MAX_DIMENSIONS:
            raise self._corrupt(f"the tensor {name!r} has {rank} dimensions")
        shape = struct.unpack(f"<{rank}Q", self._take(8 * rank, f"the shape of {name}"))
        kind = self._integer(4, f"the type of {name}")
        offset = self._integer(8, f"the offset of {name}")
        if kind not in _sizes():
            raise UnsupportedModel(
                f"{self.path}: the tensor {name!r} has type {kind}, which this version of the gguf package does not "
                "know: upgrade it (pip install -U gguf)"
            )
        tensor_type, block, block_bytes = _sizes()[kind]
        if min(shape) < 1 or max(shape) >= 1 << 48 or shape[0] % block:
            raise self._corrupt(f"the tensor {name!r} has the shape {shape}, impossible for {tensor_type.name}")
        if offset % alignment:
            raise self._corrupt(f"the tensor {name!r} starts at {offset:,}, which is not a multiple of {alignment}")
        nbytes = int(np.prod(shape, dtype=object)) // block * block_bytes
        return TensorInfo(name, shape[::-1], tensor_type, offset, nbytes)

    def _check_places(self, tensors: dict[str, TensorInfo]) -> None:
        end, before = 0, ""
        for info in sorted(tensors.values(), key=lambda info: info.offset):
            if info.offset < end:
                raise self._corrupt(f"the tensors {before!r} and {info.name!r} overlap")
            end, before = info.offset + info.nbytes, info.name
            if info.offset >= 1 << 62 or info.nbytes >= 1 << 62:
                raise self._corrupt(f"the tensor {info.name!r} claims {info.nbytes:,} bytes at {info.offset:,}")
        if end > self.size:
            raise CorruptFile(
                f"{self.path} is cut short: it has {self.size:,} bytes, its last tensor ({before}) ends at {end:,}, "
                f"{end - self.size:,} bytes are missing; download it again"
            )


def _moved(info: TensorInfo, start: int) -> TensorInfo:
    return TensorInfo(info.name, info.shape, info.type, start + info.offset, info.nbytes)


@cache
def _sizes() -> dict[int, tuple[GGMLQuantizationType, int, int]]:
    """Type number -> (type, elements per block, bytes per block)."""
    from gguf import GGML_QUANT_SIZES

    return {kind.value: (kind, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
