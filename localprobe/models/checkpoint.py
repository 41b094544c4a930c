"""Checking a local checkpoint, a GGUF file or a Hugging Face folder: validity, completeness and size.

Only headers are read, so every check takes milliseconds regardless of the size of the model.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile, UnknownModel, UnsupportedModel

GGUF_MAGIC = b"GGUF"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Floating-point type of safetensors -> bytes per element."""
MAX_HEADER = 100_000_000  # safetensors' own limit on the length of a header
_INDEX = ".safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Size:
    """The size of stored weights."""

    bytes: int
    floats: int = 0
    """Elements of unquantised floating-point tensors, whose size depends on the dtype."""
    float_bytes: int = 0

    def in_memory(self, itemsize: int | None) -> int:
        """Bytes if unquantised elements take `itemsize` bytes; None keeps the stored type."""
        return self.bytes if itemsize is None else self.bytes - self.float_bytes + self.floats * itemsize


def check_gguf(path: Path) -> None:
    """Raise CorruptFile for a file that is not GGUF, UnsupportedModel for another version, UnknownModel for a split
    file that lacks a part."""
    from localprobe.gguf.parts import parts

    for part in parts(path):
        _check_gguf(part)


def _check_gguf(path: Path) -> None:
    head = _head(path, 8)
    if not head.startswith(GGUF_MAGIC):
        raise CorruptFile(f"{path} is not a GGUF file: {_looks_like(head)}")
    if len(head) < 8:
        raise CorruptFile(f"{path} is cut off after {len(head)} bytes: fetch it again")
    (version,) = struct.unpack("<I", head[4:])
    if version not in (2, 3):
        raise UnsupportedModel(f"{path} is GGUF version {version}: convert it again with a llama.cpp of today")


def check_folder(folder: Path) -> None:
    """Raise UnknownModel if a folder lacks a file of a checkpoint, CorruptFile if one is damaged."""
    if not (folder / "config.json").is_file():
        raise UnknownModel(f"{folder} holds no config.json: give a Hugging Face model folder or a .gguf file")
    read_json(folder / "config.json")
    files = weight_files(folder)
    if not files:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        why = "only pickled weights, which localprobe never loads" if pickled else "no *.safetensors weights"
        raise UnknownModel(f"{folder} holds {why}: give a folder with safetensors, or a .gguf file")
    for file in files:
        if not file.is_file():
            raise UnknownModel(f"{folder} lacks {file.name}, which its index names: fetch the model again")
        read_header(file)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UnknownModel(f"{folder} holds no tokenizer.json: fetch the model again, with its tokenizer")
    if (folder / "adapter_config.json").exists():  # transformers applies it if peft is installed, mlx-lm never does
        raise UnsupportedModel(
            f"{folder} holds an adapter beside its weights (adapter_config.json), which some engines apply and others "
            "ignore: merge it into the weights, or move it out of the folder"
        )


def weight_files(folder: Path) -> list[Path]:
    """Every safetensors file that a loader may read of a folder, sorted.

    transformers reads what config.json names as `transformers_weights`, else model.safetensors, else the files in the
    index; mlx-lm reads all `model*`. A folder without any of these has all its files.
    """
    index = folder / f"model{_INDEX}"
    files = _named_by_config(folder) | (_named_by_index(index) if index.is_file() else set())
    return sorted(files.union(folder.glob("model*.safetensors"))) or sorted(folder.glob("*.safetensors"))


def _named_by_config(folder: Path) -> set[Path]:
    config = folder / "config.json"
    name = read_json(config).get("transformers_weights") if config.is_file() else None
    if name is None:
        return set()
    if not isinstance(name, str) or Path(name).name != name or not name.endswith((".safetensors", _INDEX)):
        raise CorruptFile(f"{config} names its weights as {name!r}, which is no safetensors file of its folder")
    return _named_by_index(folder / name) if name.endswith(_INDEX) else {folder / name}


def _named_by_index(index: Path) -> set[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CorruptFile(f"{index} has no weight_map of file names: fetch the model again")
    if strange := next((name for name in weight_map.values() if Path(name).name != name), None):
        raise CorruptFile(f"{index} names {strange!r}, which is not a file of its folder")
    return {index.with_name(name) for name in weight_map.values()}


def size(path: Path) -> Size:
    """Size of a GGUF file with all of its parts, or of the weights of a folder."""
    if path.is_file():
        from localprobe.gguf.parts import parts

        return Size(sum(part.stat().st_size for part in parts(path)))
    stored = floats = float_bytes = 0
    for file in weight_files(path):
        stored += file.stat().st_size
        for tensor in read_header(file).values():
            if itemsize := FLOATS.get(tensor["dtype"]):
                elements = math.prod(tensor["shape"])
                floats += elements
                float_bytes += elements * itemsize
    return Size(stored, floats, float_bytes)


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Each tensor of a safetensors file: its dtype, shape and data_offsets. Raises CorruptFile."""
    total = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, total - 8):
            raise CorruptFile(f"{path} is not a safetensors file: {_looks_like(head)}")
        text = file.read(length)
    try:
        header: dict[str, dict[str, Any]] = json.loads(text)
        header.pop("__metadata__", None)
        end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
        elements = [math.prod(tensor["shape"]) for tensor in header.values() if isinstance(tensor["dtype"], str)]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CorruptFile(f"{path} has a broken safetensors header: fetch it again") from error
    if end != total - 8 - length or len(elements) != len(header):
        raise CorruptFile(f"{path} should be {8 + length + end} bytes long and is {total}: fetch it again")
    return header


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. Raises CorruptFile."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CorruptFile(f"{path} is not readable JSON ({error}): fetch it again") from error
    if not isinstance(value, dict):
        raise CorruptFile(f"{path} should hold a JSON object and holds a {type(value).__name__}: fetch it again")
    return value


def _head(path: Path, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError as error:
        raise CorruptFile(f"cannot read {path}: {error.strerror}") from error


def _looks_like(head: bytes) -> str:
    """What an invalid file probably is, by its first bytes."""
    if not head:
        return "it is empty"
    if head.startswith(b"version"):
        return "it is a Git LFS pointer; run `git lfs pull` where it came from"
    if head.lstrip().startswith(b"<"):
        return "it is a web page; download the file itself"
    if head.startswith((b"PK", b"\x80")):
        return "it is a zip or pickle file, which localprobe never loads"
    return f"it starts with {head[:4]!r}"
