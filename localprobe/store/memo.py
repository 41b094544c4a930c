"""Memoised measurements: a model's scale, the outcome of its canary, which library is faster on this machine.

Each is a separate JSON file in the cache, named by a hash of its key, so concurrent processes do not conflict.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from localprobe.engine import Info, IntArray
from localprobe.errors import LocalprobeError
from localprobe.version import __version__

Key: TypeAlias = Sequence[str]
"""Everything that the measurement depends on: for a model on an engine, `model_key` and what it was measured with."""


def model_key(info: Info) -> list[str]:
    """What names a model on an engine: two that compute differently have different keys.

    Tokenizer and chat template are not part of it. What depends on them is kept by token ids, see `ids_key`.
    """
    about = [info.weights, info.engine, info.version, info.device, info.dtype, str(info.quantisation)]
    return [*about, __version__]  # the version: an engine of ours may have been mended


def ids_key(rows: Iterable[IntArray]) -> str:
    """A hash of rows of token ids, hence of texts and of the tokenizer."""
    return hashlib.sha256(json.dumps([row.tolist() for row in rows]).encode()).hexdigest()


def recall(kind: str, key: Key) -> Any | None:
    """The stored value of a kind and a key, or None. An unreadable file counts as missing."""
    try:
        return json.loads(_path(kind, key).read_text())
    except (OSError, ValueError, RecursionError):
        return None


def keep(kind: str, key: Key, value: Any) -> None:
    """Store a JSON value. Failing to write is no error: it will be measured again."""
    from localprobe.store.files import write_whole

    try:
        write_whole(_path(kind, key), json.dumps(value).encode())
    except LocalprobeError:
        return


def _path(kind: str, key: Key) -> Path:
    from localprobe.store.paths import cache

    about = [kind, *key, __version__]
    return cache() / kind / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]}.json"
