"""Fingerprints: the same weights have the same hash, on every engine and machine.

A GGUF file's fingerprint is the SHA-256 of the file. A folder's is the SHA-256 of one line `name sha256` for each of
config.json and its weight files, sorted by name: the tokenizer is left out, because it changes no weight and
repositories sometimes fix it. A folder that localprobe converted from a GGUF file has the fingerprint of that file,
stored in `localprobe.json`.

Hashing runs at disk speed (1 to 2 GB/s with SHA instructions, 0.4 without), so each file's hash is cached until its
size or modification time changes, and for files of the hub's cache it is read from their name.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path

from localprobe.errors import CorruptFile, LocalprobeError
from localprobe.models.checkpoint import read_json, weight_files
from localprobe.progress import Progress, silent

CONVERTED = "localprobe.json"
"""The file that marks a folder as converted; its `fingerprint` is that of the source."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 22
_SMALL = 1 << 20  # hashing less than this is as fast as a look-up


def fingerprint(path: Path, progress: Progress = silent) -> str:
    """The fingerprint (64 hex digits) of a GGUF file or a Hugging Face folder. Raises CorruptFile if unreadable."""
    if path.is_file():
        return _digest(path, progress)
    converted = path / CONVERTED
    if converted.is_file():
        source = read_json(converted).get("fingerprint")
        if not isinstance(source, str) or not source:
            raise CorruptFile(f"{converted} names no fingerprint: delete {path} and it is made again")
        return source
    whole = hashlib.sha256()
    for file in [path / "config.json", *weight_files(path)]:
        whole.update(f"{file.name} {_digest(file, progress)}\n".encode())
    return whole.hexdigest()


def sha256(path: Path, progress: Progress = silent) -> str:
    """SHA-256 of a file's bytes, always computed."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            done += count
            progress(f"hashing {path.name}", done, total)
    return digest.hexdigest()


def _digest(path: Path, progress: Progress) -> str:
    """SHA-256 of a file: from its name in the hub's cache, from our cache, or computed."""
    try:
        real = path.resolve(strict=True)
        if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
            return real.name
        status = real.stat()
        if status.st_size < _SMALL:
            return sha256(real)
        stamp: list[str | int] = [str(real), status.st_size, status.st_mtime_ns]
        return _recall(stamp) or _remember(stamp, sha256(real, progress))
    except OSError as error:
        raise CorruptFile(f"cannot read {path}: {error.strerror}") from error


def _recall(stamp: list[str | int]) -> str | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        note = json.loads(_note(stamp).read_text())
        if note["file"] == stamp and _SHA256.fullmatch(note["sha256"]):
            return str(note["sha256"])
    return None


def _remember(stamp: list[str | int], digest: str) -> str:
    """Cache a hash in a small file. Failing to write only costs time."""
    from localprobe.store.files import write_whole

    with suppress(LocalprobeError):
        write_whole(_note(stamp), json.dumps({"file": stamp, "sha256": digest}).encode())
    return digest


def _note(stamp: list[str | int]) -> Path:
    from localprobe.store.paths import cache

    return cache() / "hashes" / f"{hashlib.sha256(str(stamp[0]).encode()).hexdigest()[:32]}.json"
