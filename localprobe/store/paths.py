"""Folders of localprobe's own files. Weights from the hub stay in Hugging Face's cache (HF_HOME)."""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    """Folder of files that can be recreated (converted weights, hashes): LOCALPROBE_CACHE, or the system's."""
    return _folder("LOCALPROBE_CACHE", "user_cache_path")


def data() -> Path:
    """Folder of files that cannot be recreated (runs, vectors): LOCALPROBE_DATA, or the system's."""
    return _folder("LOCALPROBE_DATA", "user_data_path")


def _folder(variable: str, default: str) -> Path:
    if folder := os.environ.get(variable):
        return Path(folder).expanduser().absolute()
    import platformdirs

    path: Path = getattr(platformdirs, default)("localprobe", appauthor=False)
    return path
