"""Folders of localprobe's own files. Weights from the hub stay in Hugging Face's cache (HF_HOME)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock


def cache() -> Path:
    """Folder of files that can be recreated (converted weights, hashes): LOCALPROBE_CACHE, or the system's."""
    return _folder("LOCALPROBE_CACHE", "user_cache_path")


def data() -> Path:
    """Folder of files that cannot be recreated (runs, vectors): LOCALPROBE_DATA, or the system's."""
    return _folder("LOCALPROBE_DATA", "user_data_path")


def lock(name: str, *, timeout: float = -1) -> FileLock:
    """A lock between processes, which is released when its process ends. `timeout` in seconds; -1 waits for ever."""
    from filelock import FileLock

    path = cache() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=timeout)


def _folder(variable: str, default: str) -> Path:
    if folder := os.environ.get(variable):
        return Path(folder).expanduser().absolute()
    import platformdirs

    path: Path = getattr(platformdirs, default)("localprobe", appauthor=False)
    return path
