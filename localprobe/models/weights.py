"""Fingerprints: the same weights have the same hash, on every engine and machine.

A GGUF file's fingerprint is the SHA-256 of the file. A folder's is the SHA-256 of one line `name sha256` for each of
config.json and its weight files, sorted by name, and for all else that a loader computes with: Python code, if
`trust_remote_code` lets it run, and ModelOpt's settings. The tokenizer is left out, because it changes no weight and
repositories sometimes fix it: what depends on it is kept by token ids. A GGUF file in parts has the SHA-256 of one line
for each part. A folder of our cache that was converted from a GGUF file has the fingerprint of that file.

Nothing is believed about a file but what we computed ourselves: not a note that a folder carries, nor a hash in a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from localprobe.errors import CorruptFile
from localprobe.gguf.folder import source_of
from localprobe.gguf.parts import parts
from localprobe.models.checkpoint import read_json, weight_files
from localprobe.models.code import code_files
from localprobe.progress import Progress, silent
from localprobe.store.hashes import SHA256, digest

_MODELOPT = "hf_quant_config.json"


def converted() -> Path:
    """The folder of the cache that holds converted models."""
    from localprobe.store.paths import cache

    return cache() / "folders"


def fingerprint(path: Path, progress: Progress = silent, *, code: bool = False) -> str:
    """The fingerprint (64 hex digits) of a GGUF file or a Hugging Face folder.

    `path` may be any part of a split file. With `code`, Python code that comes with a folder counts too. Raises
    CorruptFile if a file is unreadable, or is not what its name in the hub's cache says; UnknownModel if a part is
    missing; NotDownloaded for code that is not on this disk.
    """
    if path.is_file():
        files = parts(path)
        if len(files) == 1:
            return _digest(path, progress)
        return _of_all(((f"{n}/{len(files)}", part) for n, part in enumerate(files, 1)), progress)
    return source_of(path, converted()) or _of_all(_read(path, code), progress)


def _of_all(files: Iterator[tuple[str, Path]], progress: Progress) -> str:
    whole = hashlib.sha256()
    for name, file in files:
        whole.update(f"{name} {_digest(file, progress)}\n".encode())
    return whole.hexdigest()


def _read(folder: Path, code: bool) -> Iterator[tuple[str, Path]]:
    """The files of a folder that a loader computes with, by name."""
    for file in [folder / "config.json", *weight_files(folder)]:
        yield file.name, file
    if (folder / _MODELOPT).is_file() and not _quantised(folder):
        yield _MODELOPT, folder / _MODELOPT
    if code:
        yield from sorted(code_files(folder).items())


def _quantised(folder: Path) -> bool:
    """Whether config.json has the settings that mlx-lm otherwise takes from ModelOpt's file."""
    config = read_json(folder / "config.json")
    inner = config.get("text_config")
    return "quantization_config" in config or (isinstance(inner, dict) and "quantization_config" in inner)


def _digest(path: Path, progress: Progress) -> str:
    """SHA-256 of a file. In the hub's cache, large files are named by it, and one of another content is refused."""
    computed, real = digest(path, progress), path.resolve()
    if real.parent.name == "blobs" and SHA256.fullmatch(real.name) and real.name != computed and _of_the_hub(real):
        raise CorruptFile(
            f"{path} is not the file that was fetched from the hub: its content has changed; delete {real}, "
            "and the model is fetched again"
        )
    return computed


def _of_the_hub(real: Path) -> bool:
    from huggingface_hub import constants

    return real.is_relative_to(Path(constants.HF_HUB_CACHE).resolve())
