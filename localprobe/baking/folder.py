"""Putting the baked folder together: its weights, sharded as the source's, and copies of all that goes with them."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from localprobe.baking.families import Plan
from localprobe.baking.stored import Edit, Stored, Written, write
from localprobe.errors import ModelError, UsageError
from localprobe.models.checkpoint import read_json
from localprobe.store import hashes

README, MARK = "README.md", "localprobe.json"
_INDEX = ".safetensors.index.json"
_OWN = {README, MARK, "config.json", ".gitattributes"}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pkl", ".npz")
_SPARE = 100 * 10**6  # bytes for the tokenizer and a margin


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint that is to be baked."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Stored]
    plan: Plan

    @property
    def size(self) -> int:
        """Bytes of the weights to write."""
        head = self.tensors[self.plan.embedding].size if self.plan.untie else 0
        return sum(stored.size for name, stored in self.tensors.items() if not self._replaced(name)) + head

    def _replaced(self, name: str) -> bool:
        """Whether a tensor is the head of a config that ties it to the embedding, which nothing reads."""
        return self.plan.untie and name == self.plan.head

    def written(self, path: Path, edit: Edit) -> list[Written]:
        """What one of the files of weights will hold. The untied head stands behind the embedding's file."""
        here = [stored for stored in self.tensors.values() if stored.path == path and not self._replaced(stored.name)]
        written = [Written(stored.name, stored, partial(self._pieces, stored, edit)) for stored in here]
        embedding = self.tensors[self.plan.embedding]
        if self.plan.untie and embedding.path == path:
            written.append(Written(self.plan.head, embedding, embedding.pieces))
        return written

    def _pieces(self, stored: Stored, edit: Edit) -> Iterator[Any]:
        if change := self.plan.writes.get(stored.name):
            yield edit.apply(stored, change.axis).data
        else:
            yield from stored.pieces()


def check_output(output: Path) -> None:
    """Raise UsageError unless a folder can be written there: what exists must be an empty folder."""
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output} exists already: give as `output` a folder that does not, or an empty one")


@contextmanager
def new_folder(output: Path, needed: int) -> Iterator[Path]:
    """A temporary folder beside `output`, which takes its place if the block ends without an error, Ctrl-C included,
    and is deleted otherwise. ModelError if `needed` bytes are not free there, or writing fails."""
    half = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(output.parent).free
        if free < needed + _SPARE:
            raise ModelError(
                f"{output} takes {(needed + _SPARE) / 1e9:.1f} GB, and the disk of {output.parent} has "
                f"{free / 1e9:.1f} GB left: free some space, or name a folder on another disk"
            )
        half = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".part", dir=output.parent))
        half.chmod(0o755)
        yield half
        check_output(output)  # something may have been written there meanwhile
        if output.is_dir():
            output.rmdir()
        half.rename(output)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk filled up" if full else error.strerror or str(error)
        raise ModelError(f"cannot write {output}: {why}; nothing was left there") from error
    finally:
        if half is not None:
            shutil.rmtree(half, ignore_errors=True)


def write_weights(source: Source, folder: Path, edit: Edit, count: Callable[[int], None]) -> dict[str, str]:
    """Write the weights into `folder`, one file for each of the source's. Returns the SHA-256 of each."""
    digests = {}
    for path in dict.fromkeys(stored.path for stored in source.tensors.values()):
        written = source.written(path, edit)
        digests[path.name] = write(folder / path.name, written, _metadata(path), count)
        hashes.remember(folder / path.name, digests[path.name])
    return digests


def copy_rest(source: Source, folder: Path) -> tuple[str, ...]:
    """Copy config, tokenizer and all else that is no weights into `folder`. Returns the names of what was left out."""
    files = {stored.path.name for stored in source.tensors.values()}
    left_out = []
    for path in sorted(source.folder.iterdir()):
        if path.name in files or path.name in _OWN:
            continue
        if path.name.endswith(_INDEX):
            if not _copy_index(source, path, folder):
                left_out.append(path.name)
        elif not path.is_file() or path.name.endswith((*_WEIGHTS, ".index.json")):
            left_out.append(path.name)
        else:
            shutil.copyfile(path, folder / path.name)
    if source.plan.untie:
        write_json(folder / "config.json", source.config | {"tie_word_embeddings": False})
    else:
        shutil.copyfile(source.folder / "config.json", folder / "config.json")
    return tuple(name for name in left_out if not name.startswith("."))


def _copy_index(source: Source, path: Path, folder: Path) -> bool:
    """Copy an index of shards, with the untied head in it, unless it is of files that are not copied."""
    index, plan = read_json(path), source.plan
    places = index.get("weight_map")
    names = {stored.path.name for stored in source.tensors.values()}
    if not isinstance(places, dict) or not set(places.values()) <= names:
        return False
    if plan.untie:
        embedding = source.tensors[plan.embedding]
        index["weight_map"] = places | {plan.head: embedding.path.name}
        numbers = index.get("metadata")
        if isinstance(numbers, dict) and "total_size" in numbers and plan.head not in places:
            numbers["total_size"] = source.size
    write_json(folder / path.name, index)
    return True


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; loaders want to know that it holds PyTorch's tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {"format": "pt", **(file.metadata() or {})}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file as those of a model are written."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
