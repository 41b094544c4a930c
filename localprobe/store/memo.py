"""Small facts about a model that are measured once and kept: its scale, its canary's answer.

Each is a JSON file of its own in the cache, named by a hash of its key, so two processes cannot tear it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from localprobe.engine import Info
from localprobe.errors import LocalprobeError
from localprobe.version import __version__


def recall(kind: str, info: Info) -> Any | None:
    """The value kept for a kind and a model on an engine, or None. An unreadable file counts as none."""
    try:
        return json.loads(_path(kind, info).read_text())
    except (OSError, ValueError):
        return None


def keep(kind: str, info: Info, value: Any) -> None:
    """Keep a JSON value. A cache that cannot be written is no error: the fact is measured again next time."""
    from localprobe.store.files import write_whole

    try:
        write_whole(_path(kind, info), json.dumps(value).encode())
    except LocalprobeError:
        return


def _path(kind: str, info: Info) -> Path:
    from localprobe.store.paths import cache

    key = [kind, info.weights, info.engine, info.version, info.device, info.dtype, str(info.quantisation), __version__]
    return cache() / kind / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"
