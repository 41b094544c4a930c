"""Where localprobe keeps files of its own. Weights from the hub stay in Hugging Face's cache (HF_HOME)."""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    """Folder of what can be made again (converted weights, hashes, canaries): LOCALPROBE_CACHE, or the system's."""
    return _folder("LOCALPROBE_CACHE", "user_cache_path")


def data() -> Path:
    """Folder of what cannot (runs, directions): LOCALPROBE_DATA, or the system's."""
    return _folder("LOCALPROBE_DATA", "user_data_path")


def _folder(variable: str, default: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    path: Path = getattr(platformdirs, default)("localprobe", appauthor=False)
    return path
