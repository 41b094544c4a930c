"""Values of the contract as bytes on a socket, between an engine's child process and its parent, without pickle.

A frame is a prefix (magic, name, length of the message, total length of the arrays), a message in MessagePack, and the
raw bytes of the arrays in the order in which the message mentions them. In the message an array is `[dtype, shape]`, or
the number of an earlier array of the same frame that it repeats; a path is its bytes; a dataclass is a map of its
fields. The receiver knows the type of each name, and decodes into that type or raises.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from localprobe.errors import UsageError

MESSAGE_LIMIT = 1 << 26
"""The most bytes of a message without its arrays: 64 MiB."""
ARRAYS_LIMIT = 1 << 36
"""The most bytes of a frame's arrays: 64 GiB."""
BUFFER = 1 << 18
"""Bytes that both ends of the socket buffer. Smaller pieces of a frame are joined to save system calls."""

_MAGIC = b"lpr2"
_PREFIX = struct.Struct("<4s8sIQ")
_NAME = 8  # bytes of a frame's name
_DTYPES = {
    dtype.str: dtype for code in "?bBhHiIlLqQefd" for dtype in (np.dtype(code), np.dtype(code).newbyteorder(">"))
}
_REPEATED = 256  # bytes from which a vector is compared with earlier ones


class FrameError(Exception):
    """The data received are not a complete frame: the other side died while sending, or something else wrote."""


class WrongType(Exception):
    """A complete frame whose value has the wrong type for its name. The next frame can be read."""


def pack(name: str, value: object, *, share: bool = False) -> list[bytes | memoryview]:
    """A frame in pieces. With `share`, equal float32 vectors are sent once and arrive as one array: a batch often
    carries one direction in every row.

    Raises TypeError for a value that cannot be sent, UsageError if it exceeds the limits or holds text that is not
    valid Unicode.
    """
    arrays = _Arrays(share)
    try:
        message = msgspec.msgpack.encode(value, enc_hook=arrays.put)
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} was given text that is not Unicode: {error.object[:50]!r}") from error
    size = sum(part.nbytes for part in arrays.parts)
    if len(message) > MESSAGE_LIMIT or size > ARRAYS_LIMIT:
        raise UsageError(f"a message of {len(message)} + {size} bytes is too large: make the batch smaller")
    head = _PREFIX.pack(_MAGIC, name.encode(), len(message), size)
    return [head, message, *arrays.parts] if size >= BUFFER else [b"".join((head, message, *arrays.parts))]


def transmit(to: socket.socket, parts: list[bytes | memoryview]) -> None:
    """Write a packed frame, large arrays straight from their memory."""
    waiting = bytearray()
    for part in parts:
        if memoryview(part).nbytes >= BUFFER:
            to.sendall(waiting)
            to.sendall(part)
            waiting.clear()
        else:
            waiting += part
    if waiting:
        to.sendall(waiting)


def buffered(channel: socket.socket) -> BufferedReader:
    """The buffered reader of a socket that `FrameReader` needs; close it as well as the socket."""
    return cast(BufferedReader, channel.makefile("rb", BUFFER))


class FrameReader:
    """Reads frames; `types` maps each name to the type of its value."""

    def __init__(self, source: BufferedReader, types: Mapping[str, Any]) -> None:
        self._source = source
        self._decoders = {
            name.encode().ljust(_NAME, b"\0"): (name, msgspec.msgpack.Decoder(kind, dec_hook=self._value))
            for name, kind in types.items()
        }
        self._arrays: list[NDArray[Any]] = []
        self._left = 0  # bytes of this frame's arrays not yet read

    def receive(self) -> tuple[str, Any]:
        """The name and the value of the next frame. Arrays are new and writable; a vector that was sent once
        is one array.

        Raises EOFError if the other side ended between two frames, FrameError for an incomplete or invalid frame,
        WrongType if the value has the wrong type.
        """
        prefix = self._source.read(_PREFIX.size)
        if not prefix:
            raise EOFError("the other side has ended")
        if len(prefix) < _PREFIX.size:
            raise FrameError(f"{len(prefix)} bytes of a prefix")
        magic, padded, length, self._left = _PREFIX.unpack(prefix)
        if magic != _MAGIC or padded not in self._decoders or length > MESSAGE_LIMIT or self._left > ARRAYS_LIMIT:
            raise FrameError(f"{prefix!r} is not the prefix of a frame")
        message = self._source.read(length)
        if len(message) < length:
            raise FrameError(f"{len(message)} bytes of a message of {length}")
        name, decoder = self._decoders[padded]
        self._arrays = []
        try:
            value = decoder.decode(message)
        except msgspec.ValidationError as error:
            self._skip()
            raise WrongType(f"{name}: {error}") from error
        except (ValueError, LookupError, RecursionError) as error:
            raise FrameError(f"a message that cannot be read: {error}") from error
        if self._left:
            raise FrameError(f"{self._left} bytes of arrays that the message does not mention")
        return name, value

    def _value(self, kind: type, sent: Any) -> Any:
        """Decodes the types that msgspec does not know: a path, or the next array."""
        if kind is Path:
            return Path(os.fsdecode(sent))
        if isinstance(sent, int):
            return self._arrays[sent]
        name, shape = sent
        dtype = _DTYPES.get(name)
        if dtype is None or not 0 <= (size := dtype.itemsize * prod(shape)) <= self._left:
            raise FrameError(f"an array of {name} {shape} in a frame that has {self._left} more bytes")
        try:
            array = np.empty(shape, dtype)
        except MemoryError as error:
            raise FrameError(f"an array of {size:,} bytes, for which there is no memory") from error
        if size and (got := self._source.readinto(array.data)) < size:
            raise FrameError(f"{got} bytes of an array of {size}")
        self._left -= size
        self._arrays.append(array)
        return array

    def _skip(self) -> None:
        while self._left:
            skipped = len(self._source.read(min(self._left, BUFFER)))
            if not skipped:
                raise FrameError(f"the other side ended {self._left} bytes before the end of a frame")
            self._left -= skipped


class _Arrays:
    """The arrays of a frame that is being packed."""

    def __init__(self, share: bool) -> None:
        self.parts: list[memoryview] = []
        self._share = share
        self._numbers: dict[tuple[tuple[int, ...], bytes], int] = {}  # of vectors by shape and bytes

    def put(self, value: object) -> Any:
        """The representation in the message of a value that msgspec does not know."""
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Path):
            return os.fsencode(value)
        if isinstance(value, np.generic):  # numpy scalars
            return value.item()
        raise TypeError(f"{type(value).__name__} is not part of the contract between engine and core")

    def _array(self, array: NDArray[Any]) -> Any:
        name = array.dtype.str
        if name not in _DTYPES:
            raise TypeError(f"an array of {array.dtype} is not part of the contract between engine and core")
        if self._share and array.ndim in (1, 2) and name == "<f4" and array.nbytes >= _REPEATED:
            number = self._numbers.setdefault((array.shape, array.tobytes()), len(self.parts))
            if number < len(self.parts):
                return number
        self.parts.append(np.asarray(array, order="C").data)
        return name, array.shape
