"""Converting a GGUF file to a Hugging Face folder in the cache, once and atomically.

The mark in a folder names the GGUF file that it was made from, and the SHA-256 of each file that was written. It is
believed in our own cache only, and only while the folder holds these files and no others.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from localprobe.errors import CorruptFile, ModelError, UsageError
from localprobe.gguf.config import config, generation_config
from localprobe.gguf.header import Header
from localprobe.gguf.names import Source, sources
from localprobe.gguf.parts import read_model
from localprobe.gguf.sizes import Sizes, sizes
from localprobe.gguf.tensors import DTYPE_BYTES, Dtype, check_types, total_bytes, write_shards
from localprobe.gguf.tokenizer import tokenizer, tokenizer_config
from localprobe.gguf.vocabulary import Vocabulary, vocabulary
from localprobe.store import hashes
from localprobe.version import __version__

Progress: TypeAlias = Callable[[int, int], None]
FORMAT = 1
"""Format of the folders: incremented when their content changes, so that older folders are converted again."""
MARK = "localprobe.json"

_FLOAT32_LIMIT = 2 * 10**9  # bytes; larger models are written in 16 bits
_SPARE = 100 * 10**6  # bytes for the tokenizer and a margin


def to_folder(
    path: Path | str,
    fingerprint: str,
    cache: Path,
    *,
    dtype: Dtype | None = None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """The folder in `cache` that holds the model of a GGUF file, for transformers and mlx-lm; converted on first use.

    `path` may be any part of a split file. `fingerprint` names the file's content (`models.weights.fingerprint`).
    `dtype` None takes float32 up to 2 GB, bfloat16 above. `progress` is called with bytes written and total bytes. Safe
    against a crash, Ctrl-C, a full disk and concurrent processes: the second one waits for the first. A folder whose
    files were changed is made again.

    Raises UnsupportedModel or CorruptFile for the file, UsageError for an invalid dtype, ModelError if the disk is
    full.
    """
    header = read_model(path)
    shape = sizes(header)
    tensors = sources(header, shape)
    dtype = _dtype(header, tensors, dtype)
    folder = cache / f"{_safe(fingerprint)}-{dtype}-v{FORMAT}"
    if not _complete(folder):
        work = _Conversion(header, shape, tensors, dtype, fingerprint, folder)
        try:
            with _alone(folder):
                if not _complete(folder):  # another process may have converted it meanwhile
                    work.make(progress)
        except OSError as error:
            raise work.unwritable(error) from error
    return folder


def source_of(folder: Path, cache: Path) -> str | None:
    """The fingerprint of the GGUF file that `to_folder` made a folder of `cache` from.

    None for a folder elsewhere, whatever mark it carries, and for one whose files are not those that were written.
    """
    if folder.resolve().parent != cache.resolve() or not _complete(folder):
        return None
    source = _mark(folder).get("fingerprint")
    return source if isinstance(source, str) and source else None


def wrote_tokenizer(folder: Path) -> bool:
    """Whether the tokenizer.json of a folder, wherever it lies, is the one that `to_folder` wrote.

    It then defines exactly how text is split, and must be loaded as it is.
    """
    try:
        written: str = _mark(folder)["sha256"]["tokenizer.json"]
        return written == hashes.digest(folder / "tokenizer.json")
    except (OSError, ValueError, KeyError, TypeError, CorruptFile):
        return False


def _dtype(header: Header, tensors: list[Source], dtype: Dtype | None) -> Dtype:
    if dtype is None:
        return "float32" if total_bytes(tensors, "float32") < _FLOAT32_LIMIT else "bfloat16"
    if dtype not in DTYPE_BYTES:
        raise UsageError(f"dtype {dtype!r} is not one of {', '.join(DTYPE_BYTES)}")
    if dtype == "float16" and header.architecture == "gemma3":
        raise UsageError("Gemma's residuals reach 100,000, more than float16 holds: take bfloat16 or float32")
    return dtype


def _safe(fingerprint: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", fingerprint).lstrip(".")
    if not name:
        raise UsageError("the fingerprint of a model must not be empty")
    return name


def _complete(folder: Path) -> bool:
    """Whether a folder holds the files that were written, byte for byte, and nothing else that a loader could read."""
    try:
        written: dict[str, str] = _mark(folder)["sha256"]
        present = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
        return present == {*written, MARK} and all(
            hashes.digest(folder / name) == digest for name, digest in written.items()
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, CorruptFile):
        return False


def _mark(folder: Path) -> dict[str, Any]:
    mark: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
    return mark


def _alone(folder: Path) -> Any:
    """A lock that is released when its process ends."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.parent / f".{folder.name}.lock")


@dataclass(frozen=True, slots=True)
class _Conversion:
    header: Header
    shape: Sizes
    tensors: list[Source]
    dtype: Dtype
    fingerprint: str
    folder: Path

    def make(self, progress: Progress) -> None:
        """Write into a temporary folder, then rename it. Called under the lock."""
        check_types(self.header, self.tensors)
        words = vocabulary(self.header)
        settings = config(self.header, self.shape, words, self.dtype)
        prefix = f".{self.folder.name}."
        for left_over in [*self.folder.parent.glob(f"{prefix}*.part"), self.folder]:  # of a killed process, or damaged
            shutil.rmtree(left_over, ignore_errors=True)
        self._check_room()
        half = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=self.folder.parent))
        try:
            half.chmod(0o755)  # mkdtemp's 0o700 would hide a shared cache from its other users
            self._write_settings(words, settings, half)
            written = self._write_tensors(half, progress)
            self._write_mark(half, written)
            half.rename(self.folder)
            for name, digest in written.items():
                hashes.remember(self.folder / name, digest)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise

    def _write_settings(self, words: Vocabulary, settings: dict[str, Any], half: Path) -> None:
        spoken = tokenizer_config(self.header, words, self.shape.context)
        _write_json(half / "config.json", settings)
        _write_json(half / "generation_config.json", generation_config(words))
        _write_json(half / "tokenizer_config.json", spoken)
        tokenizer(self.header, words).save(str(half / "tokenizer.json"), pretty=False)

    def _write_tensors(self, half: Path, progress: Progress) -> dict[str, str]:
        """Write the weights. Returns the SHA-256 of each file."""
        total, written_bytes = total_bytes(self.tensors, self.dtype), 0

        def written(count: int) -> None:
            nonlocal written_bytes
            written_bytes += count
            progress(written_bytes, total)

        return write_shards(self.header, self.tensors, half, self.dtype, written)

    def _write_mark(self, half: Path, written: dict[str, str]) -> None:
        files = sorted(half.iterdir())
        mark = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "source": self.header.path.name,
            "architecture": self.header.architecture,
            "quantisation": self.header.quantisation,
            "dtype": self.dtype,
            "localprobe": __version__,
            "gguf": version("gguf"),
            "files": {file.name: file.stat().st_size for file in files},
            "sha256": {file.name: written.get(file.name) or hashes.sha256(file) for file in files},
        }
        _write_json(half / MARK, mark)

    def _needed(self) -> int:
        return total_bytes(self.tensors, self.dtype) + _SPARE

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder.parent).free
        if free < self._needed():
            raise ModelError(
                f"converting {self.header.path.name} takes {self._needed() / 1e9:.1f} GB in {self.folder.parent}, "
                f"which has {free / 1e9:.1f} GB left: free some space, or set LOCALPROBE_CACHE to a folder elsewhere"
            )

    def unwritable(self, error: OSError) -> ModelError:
        """The error for a failed write."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ModelError(
                f"the disk filled up while converting {self.header.path.name}, which takes "
                f"{self._needed() / 1e9:.1f} GB in {self.folder.parent}; nothing was left there: free some space, "
                "or set LOCALPROBE_CACHE to a folder elsewhere"
            )
        return ModelError(f"cannot convert {self.header.path} into {self.folder.parent}: {error.strerror or error}")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
