"""Small facts that are measured once and kept: a model's scale, its canary's answer, which library is faster here.

Each is a JSON file of its own in the cache, named by a hash of its key, so two processes cannot tear it.
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
"""What a fact is about: a model on an engine, or whatever strings name."""


def recall(kind: str, key: Key) -> Any | None:
    """The value kept for a kind and a key, or None. An unreadable file counts as none."""
    try:
        return json.loads(_path(kind, key).read_text())
    except (OSError, ValueError):
        return None


def keep(kind: str, key: Key, value: Any) -> None:
    """Keep a JSON value. A cache that cannot be written is no error: the fact is measured again next time."""
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
