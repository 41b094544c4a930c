"""Values of the contract as bytes on a socket: how an engine's child process and its parent talk. Never pickle.

A frame is a prefix (magic, length of the header, length of the arrays), a header in JSON, and the bytes of the arrays:

    [["Row", ["array", 0], ["", ["Term", 19, ["array", 1], 0, null]], null, null, [""]], [["<i4", [7]], ["<f4", [576]]]]

In the header's value a JSON list is a tuple (tag ""), an array (by its number), a path, or a dataclass of the contract
with its fields in order. The header's second part gives each array's dtype and shape. Lists arrive as tuples.

What goes over the wire for every token, a `step` and its answer, has frames of its own, which need no such header: a
small model's token takes six milliseconds, and reading it as JSON would be a thirtieth of that on either side.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from dataclasses import fields
from io import BufferedReader
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import Capabilities, Info, LoadOptions, Output, Prompt, Row, Sampler, Step, Term, Watch, Weights

HEADER_LIMIT = 1 << 26
"""The most bytes of a header: 64 MiB."""
ARRAYS_LIMIT = 1 << 36
"""The most bytes of a frame's arrays: 64 GiB."""
BUFFER = 1 << 18
"""Bytes that both ends of the socket buffer. Smaller pieces of a frame are joined to spare system calls."""

_MAGIC = b"lpr1"
_ASKED = b"lpra"  # header: stream, rows; arrays: uniforms, ids before
_STEPPED = b"lprs"  # header: rows, watches, texts in JSON; arrays: ids, logprobs, scores
_PREFIX = struct.Struct("<4sIQ")
_COUNTS = struct.Struct("<QQ")
_DTYPE_KINDS = "biuf"
_MANY = 16  # integers from which on an array is cheaper than JSON

_CLASSES: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (Capabilities, Info, LoadOptions, Output, Prompt, Row, Sampler, Step, Term, Watch, Weights)
}
_FIELDS = {each: attrgetter(*(field.name for field in fields(each))) for each in _CLASSES.values()}  # type: ignore[arg-type]
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode


class FrameError(Exception):
    """What arrived is not a whole frame: the other side died in the middle of it, or something else wrote."""


def send(to: socket.socket, value: object) -> None:
    """Write one frame."""
    transmit(to, pack(value))


def transmit(to: socket.socket, parts: list[bytes | memoryview]) -> None:
    """Write a packed frame, large arrays straight from their memory."""
    waiting = bytearray()
    for part in parts:
        if len(part) >= BUFFER:
            to.sendall(waiting)
            to.sendall(part)
            waiting.clear()
        else:
            waiting += part
    to.sendall(waiting)


def pack(value: object) -> list[bytes | memoryview]:
    """A frame in pieces.

    Raises TypeError if the value holds something that the contract does not, ValueError if it is above the limits.
    """
    return _pack_step(value) or _pack(value)


def _pack_step(value: object) -> list[bytes | memoryview] | None:
    """The short frame of a step or of its answer, if `value` is one as it should be."""
    if not (isinstance(value, tuple) and value and isinstance(value[0], str)):
        return None
    match value:
        case ("step", int() as number, np.ndarray() as uniforms, np.ndarray() as before):
            if _are((uniforms, "<f8"), (before, "<i4")) and len(uniforms) == len(before):
                return [_short(_ASKED, _COUNTS.pack(number, len(before)), uniforms, before)]
        case ("done", (Step(ids, logprobs, scores), tuple() as alone, tuple() as after)):
            if _are((ids, "<i4"), (logprobs, "<f4"), (scores, "<f4")):
                header = _COUNTS.pack(*scores.shape) + _encode((alone, after)).encode()
                return [_short(_STEPPED, header, ids, logprobs, scores)]
    return None


def _are(*arrays: tuple[NDArray[Any], str]) -> bool:
    return all(array.dtype.str == dtype for array, dtype in arrays)


def _short(magic: bytes, header: bytes, *arrays: NDArray[Any]) -> bytes:
    body = b"".join(array.tobytes() for array in arrays)
    return _PREFIX.pack(magic, len(header), len(body)) + header + body


def _pack(value: object) -> list[bytes | memoryview]:
    packer = _Packer()
    tree = packer.put(value)
    header = _encode([tree, [[array.dtype.str, array.shape] for array in packer.arrays]]).encode()
    size = sum(array.nbytes for array in packer.arrays)
    if len(header) > HEADER_LIMIT or size > ARRAYS_LIMIT:
        raise ValueError(f"a message of {len(header)} + {size} bytes is too large: make the batch smaller")
    return [_PREFIX.pack(_MAGIC, len(header), size) + header, *(_bytes(array) for array in packer.arrays)]


def reader(channel: socket.socket) -> BufferedReader:
    """The buffered reader of a socket that `receive` needs; close it as well as the socket."""
    return cast(BufferedReader, channel.makefile("rb", BUFFER))


def receive(source: BufferedReader) -> Any:
    """Read one frame. Its arrays are the receiver's own, writable; what was sent once is one array.

    Raises EOFError if the other side has ended between two frames, FrameError if within one or if it is no frame.
    """
    prefix = source.read(_PREFIX.size)
    if not prefix:
        raise EOFError("the other side has ended")
    if len(prefix) < _PREFIX.size:
        raise FrameError(f"{len(prefix)} bytes of a prefix")
    magic, length, size = _PREFIX.unpack(prefix)
    if magic not in _READERS or length > HEADER_LIMIT or size > ARRAYS_LIMIT:
        raise FrameError(f"{prefix!r} is not the prefix of a frame")
    header = source.read(length)
    if len(header) < length:
        raise FrameError(f"{len(header)} bytes of a header of {length}")
    try:
        return _READERS[magic](header, source, size)
    except (TypeError, ValueError, LookupError, RecursionError, struct.error) as error:
        raise FrameError(f"a header that cannot be read: {error}") from error


def _read(header: bytes, source: BufferedReader, size: int) -> Any:
    tree, specifications = _decode(header.decode())
    return _take(tree, _arrays(source, specifications, size))


def _read_asked(header: bytes, source: BufferedReader, size: int) -> tuple[Any, ...]:
    number, rows = _COUNTS.unpack(header)
    body = _body(source, size, 12 * rows)
    return "step", number, np.frombuffer(body, np.float64, rows), np.frombuffer(body, np.int32, rows, 8 * rows)


def _read_stepped(header: bytes, source: BufferedReader, size: int) -> tuple[Any, ...]:
    rows, watches = _COUNTS.unpack_from(header)
    body = _body(source, size, 4 * rows * (2 + watches))
    ids, logprobs = np.frombuffer(body, np.int32, rows), np.frombuffer(body, np.float32, rows, 4 * rows)
    scores = np.frombuffer(body, np.float32, rows * watches, 8 * rows).reshape(rows, watches)
    alone, after = _decode(header[_COUNTS.size :].decode())
    return "done", (Step(ids, logprobs, scores), tuple(alone), tuple(after))


def _body(source: BufferedReader, size: int, expected: int) -> bytearray:
    """The arrays of a short frame, writable."""
    body = bytearray(size)
    if size != expected or source.readinto(body) < size:
        raise FrameError(f"{size} bytes of arrays of {expected}, or fewer")
    return body


_READERS = {_MAGIC: _read, _ASKED: _read_asked, _STEPPED: _read_stepped}


class _Packer:
    """Turns a value into JSON, and takes its arrays out."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._sent: dict[bytes, int] = {}

    def put(self, value: object) -> Any:
        if value is None or isinstance(value, str | int | float):
            return value
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, tuple | list):
            if len(value) >= _MANY and (table := _table(value)) is not None:
                return ["ints", self._array(table)[1]]
            return ["", *map(self.put, value)]
        return self._object(value)

    def _object(self, value: object) -> Any:
        if isinstance(value, Term):  # a batch often carries one direction in every row
            return [
                "Term",
                self.put(value.layer),
                self._shared(value.delta),
                self.put(value.start),
                self.put(value.stop),
            ]
        if getter := _FIELDS.get(type(value)):
            return [type(value).__name__, *map(self.put, getter(value))]
        if isinstance(value, dict):
            return {str(key): self.put(item) for key, item in value.items()}
        if isinstance(value, Path):
            return ["Path", str(value)]
        if isinstance(value, np.generic):  # numbers that numpy made
            return value.item()
        raise TypeError(f"{type(value).__name__} is not part of the contract between engine and core")

    def _array(self, array: NDArray[Any]) -> list[Any]:
        if array.dtype.kind not in _DTYPE_KINDS:
            raise TypeError(f"an array of {array.dtype} is not part of the contract between engine and core")
        self.arrays.append(np.asarray(array, order="C"))
        return ["array", len(self.arrays) - 1]

    def _shared(self, delta: NDArray[Any]) -> list[Any]:
        key = delta.tobytes()
        if key not in self._sent:
            self._array(delta)
            self._sent[key] = len(self.arrays) - 1
        return ["array", self._sent[key]]


def _table(value: tuple[object, ...] | list[object]) -> NDArray[np.int64] | None:
    """Positions (n,) or spans (n, 2) as an array, if that is what `value` holds."""
    first = value[0]
    plain = type(first) is int or (type(first) is tuple and len(first) == 2 and type(first[0]) is int)
    if not plain:
        return None
    try:
        table = np.array(value)
    except ValueError:  # not all of one shape
        return None
    return table if table.dtype == np.int64 else None


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _arrays(source: BufferedReader, specifications: list[tuple[str, list[int]]], size: int) -> list[NDArray[Any]]:
    """Read the arrays of a frame, each into memory of its own."""
    types = [np.dtype(name) for name, _ in specifications]
    shapes = [tuple(shape) for _, shape in specifications]
    sizes = [each.itemsize * prod(shape) for each, shape in zip(types, shapes, strict=True)]
    if any(each.kind not in _DTYPE_KINDS for each in types) or min(sizes, default=0) < 0 or sum(sizes) != size:
        raise FrameError("the arrays are not what the prefix says")
    arrays = [np.empty(shape, dtype) for shape, dtype in zip(shapes, types, strict=True)]
    for array in arrays:
        if (got := source.readinto(_bytes(array))) < array.nbytes:
            raise FrameError(f"{got} bytes of an array of {array.nbytes}")
    return arrays


def _take(tree: Any, arrays: list[NDArray[Any]]) -> Any:
    """The value of a header: the inverse of `_Packer.put`."""
    if isinstance(tree, dict):
        return {key: _take(item, arrays) for key, item in tree.items()}
    if not isinstance(tree, list):
        return tree
    tag, *items = tree
    if tag == "array":
        return arrays[items[0]]
    if tag == "ints":
        return tuple(tuple(each) if isinstance(each, list) else each for each in arrays[items[0]].tolist())
    if tag == "Path":
        return Path(items[0])
    values = [_take(item, arrays) for item in items]
    return _CLASSES[tag](*values) if tag else tuple(values)
