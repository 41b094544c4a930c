"""Safetensors files written piece by piece: its library needs a whole file in memory, and numpy has no bfloat16."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

_ALIGNED = 8
"""The header's length is padded to a multiple of it, in bytes."""


def packed_header(header: Mapping[str, Any]) -> bytes:
    """A header with its length, as safetensors itself writes it: compact, in its order, padded with spaces."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(8, "little") + text


def write(path: Path, header: Mapping[str, Any], pieces: Iterable[Any], count: Callable[[int], None]) -> str:
    """Write a header and the bytes of all tensors, flushed to the disk. Returns the file's SHA-256; `count` is called
    with the bytes of each piece just written."""
    start = packed_header(header)
    digest = hashlib.sha256(start)
    with path.open("wb") as file:
        file.write(start)
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            count(memoryview(piece).nbytes)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
