"""SHA-256 of files, remembered until a file changes.

Hashing runs at disk speed (1 to 2 GB/s with SHA instructions, 0.4 without). So the hash of a large file is kept in our
cache, together with the file's path, size, modification time, change time and inode. After `cp -p` or `tar` another
content may have the same size and modification time, but no program can set the change time.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from localprobe.errors import CorruptFile, LocalprobeError
from localprobe.progress import Progress, silent

SHA256 = re.compile(r"[0-9a-f]{64}")

_CHUNK = 1 << 22
_SMALL = 1 << 20  # hashing less than this is as fast as a look-up

_Stamp: TypeAlias = list[str | int]


def digest(path: Path, progress: Progress = silent) -> str:
    """SHA-256 of a file's bytes, computed or remembered. Raises CorruptFile if it cannot be read."""
    try:
        real = path.resolve(strict=True)
        if real.stat().st_size < _SMALL:
            return sha256(real)
        stamp = _stamp(real)
        if (known := _recall(stamp)) is not None:
            return known
        computed = sha256(real, progress)
        if _stamp(real) == stamp:  # else it was written to meanwhile
            _keep(stamp, computed)
        return computed
    except OSError as error:
        raise CorruptFile(f"cannot read {path}: {error.strerror}") from error


def remember(path: Path, computed: str) -> None:
    """Keep the SHA-256 that was computed while a file was written or fetched, so that it is not read again for it."""
    with suppress(OSError):
        _keep(_stamp(path.resolve(strict=True)), computed)


def sha256(path: Path, progress: Progress = silent) -> str:
    """SHA-256 of a file's bytes, always computed. Raises OSError."""
    whole, total, done = hashlib.sha256(), path.stat().st_size, 0
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            whole.update(buffer[:count])
            done += count
            progress(f"hashing {path.name}", done, total)
    return whole.hexdigest()


def _stamp(real: Path) -> _Stamp:
    status = real.stat()
    return [str(real), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _recall(stamp: _Stamp) -> str | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        note = json.loads(_note(stamp).read_text())
        if note["file"] == stamp and SHA256.fullmatch(note["sha256"]):
            return str(note["sha256"])
    return None


def _keep(stamp: _Stamp, computed: str) -> None:
    """Write the note of a file. Failing to write only costs time."""
    from localprobe.store.files import write_whole

    with suppress(LocalprobeError):
        write_whole(_note(stamp), json.dumps({"file": stamp, "sha256": computed}).encode())


def _note(stamp: _Stamp) -> Path:
    from localprobe.store.paths import cache

    return cache() / "hashes" / f"{hashlib.sha256(str(stamp[0]).encode()).hexdigest()[:32]}.json"
