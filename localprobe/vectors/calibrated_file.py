"""Calibrations in a vector's own file: written into it without touching the rest, and left out of its identity.

A sweep is named by the bytes of its vectors' files, and a calibration changes nothing that steers. So the identity of a
file is that of the bytes it would have without calibrations (`without`), and `keep` makes sure that these are the bytes
that it had: an old file stays what it was, whatever fields today's files have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from localprobe.errors import VectorError
from localprobe.store.files import write_whole
from localprobe.store.json_values import to_json
from localprobe.store.safetensors_file import packed_header
from localprobe.vectors import files, metadata
from localprobe.vectors.calibrated import Calibration, merged
from localprobe.vectors.vector import Vector

_SIZE = 8
"""Bytes at the beginning of a safetensors file that hold the length of its header."""
_MARK = metadata.CALIBRATIONS.encode()


def keep(path: Path, calibrations: Mapping[int, tuple[Calibration, ...]]) -> Vector:
    """Add calibrations, by layer, to a vector's file, atomically, each in place of an older one with the same key.

    Returns the vector that the file then holds. VectorError for a file that is not our safetensors or has no such
    layer, LocalprobeError if writing fails.
    """
    vector = files.load(path)
    kept = {layer: merged(vector.directions[layer].calibrations, new) for layer, new in calibrations.items()}
    check(path)
    before = path.read_bytes()

    def add(details: dict[str, Any]) -> None:
        for layer, all_of_it in kept.items():
            details[str(layer)].pop(metadata.CALIBRATIONS, None)
            details[str(layer)][metadata.CALIBRATIONS] = to_json(all_of_it)

    after = _edited(before, add)
    if without(after) != without(before):
        raise VectorError(f"{path} was written in another way than ours: write it anew with localprobe export first")
    write_whole(path, after)
    return files.load(path)


def check(path: Path) -> None:
    """VectorError for a file of another format than our safetensors, which cannot hold calibrations."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise VectorError(f"cannot read {path}: {error.strerror}") from error
    if magic in (b"GGUF", b"PK\x03\x04"):
        form = "a control vector in GGUF" if magic == b"GGUF" else "npz"
        raise VectorError(
            f"{path} is {form}, which cannot keep a calibration: write it as .safetensors with localprobe export"
        )


def without(data: bytes) -> bytes:
    """The bytes that a vector's file would have without calibrations; other bytes as they are."""
    if _MARK not in data:
        return data

    dropped: list[Any] = []

    def drop(details: dict[str, Any]) -> None:
        dropped.extend(direction.pop(metadata.CALIBRATIONS, None) for direction in details.values())

    try:
        edited = _edited(data, drop)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    return edited if any(dropped) else data


def _edited(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """The bytes of a safetensors file whose metadata of directions have been edited."""
    size = int.from_bytes(data[:_SIZE], "little")
    header = json.loads(data[_SIZE : _SIZE + size])
    about = json.loads(header["__metadata__"][metadata.KEY])
    edit(about["directions"])
    header["__metadata__"][metadata.KEY] = json.dumps(about)
    return packed_header(header) + data[_SIZE + size :]
