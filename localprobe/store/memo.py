"""Memoised measurements: a model's scale, the outcome of its canary, which library is faster on this machine.

Each is a separate JSON file in the cache, named by a hash of its key, so concurrent processes do not conflict.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from localprobe.engine import Info
from localprobe.errors import LocalprobeError
from localprobe.version import __version__

Key: TypeAlias = Info | Sequence[str]
"""What was measured: a model on an engine, or anything that strings identify."""


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

    about = [kind, *(_model(key) if isinstance(key, Info) else key), __version__]
    return cache() / kind / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]}.json"


def _model(info: Info) -> list[str]:
    return [info.weights, info.engine, info.version, info.device, info.dtype, str(info.quantisation)]
