"""Checking a local checkpoint, a GGUF file or a Hugging Face folder: validity, completeness and size.

Only headers are read, so every check takes milliseconds regardless of the size of the model.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile, DataError, UnknownModel, UnsupportedModel
from localprobe.models.config import check_config
from localprobe.store.safe_json import parse
from localprobe.suggest import shown

GGUF_MAGIC = b"GGUF"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Floating-point type of safetensors -> bytes per element."""
MAX_HEADER = 1 << 25
"""The most bytes of a safetensors header. The largest models in one file take 20 MB; safetensors itself takes 100 MB,
which are gigabytes once they are parsed."""
MAX_JSON = 1 << 26
"""The most bytes of another JSON file: the index of the largest models takes 20 MB."""
_BYTES = FLOATS | {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_LARGEST = 1 << 62  # of a size or an offset
_DIMENSIONS = 64  # as many as numpy takes
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
    check_config(folder / "config.json", read_json(folder / "config.json"))
    files = weight_files(folder)
    if not files:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        why = "only pickled weights, which localprobe never loads" if pickled else "no *.safetensors weights"
        raise UnknownModel(f"{folder} holds {why}: give a folder with safetensors, or a .gguf file")
    for file in files:
        if not _is_file(file):
            raise UnknownModel(f"{folder} lacks {shown(file.name)[1:-1]}, which its index names: fetch the model again")
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
        raise CorruptFile(f"{config} names its weights as {shown(name)}, which is no safetensors file of its folder")
    return _named_by_index(folder / name) if name.endswith(_INDEX) else {folder / name}


def _named_by_index(index: Path) -> set[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CorruptFile(f"{index} has no weight_map of file names: fetch the model again")
    strange = [name for name in weight_map.values() if Path(name).name != name or name in ("", "..")]
    if strange:
        raise CorruptFile(f"{index} names {shown(strange[0])}, which is not a file of its folder")
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
    """Each tensor of a safetensors file: its dtype, shape and data_offsets, checked against each other and the file.

    Raises CorruptFile.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, total - 8):
            raise CorruptFile(f"{path} is not a safetensors file: {_looks_like(head)}")
        text = file.read(length)
    try:
        header = parse(text.decode(), "its header")
    except (UnicodeDecodeError, DataError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(header, dict):
        raise _broken(path, f"a {type(header).__name__}")
    header.pop("__metadata__", None)
    for name, tensor in header.items():
        if wrong := _wrong(tensor):
            raise _broken(path, f"the tensor {shown(name)} {wrong}")
    end = 0
    for name, (begin, after) in sorted(((n, t["data_offsets"]) for n, t in header.items()), key=lambda item: item[1]):
        if begin != end:
            raise _broken(path, f"the tensor {shown(name)} begins at byte {begin}, the one before ends at {end}")
        end = after
    if end != total - 8 - length:
        raise CorruptFile(f"{path} should be {8 + length + end} bytes long and is {total}: fetch it again")
    return header


def _broken(path: Path, what: str) -> CorruptFile:
    return CorruptFile(f"{path} has a broken safetensors header ({what}): fetch it again")


def _wrong(tensor: Any) -> str:
    """What is wrong with a tensor's entry in a safetensors header; empty if nothing is."""
    if not isinstance(tensor, Mapping) or not isinstance(tensor.get("dtype"), str):
        return "has no dtype"
    shape, offsets = tensor.get("shape"), tensor.get("data_offsets")
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS or not all(map(_is_size, shape)):
        return f"has the shape {shown(shape)}"
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)) or offsets[0] > offsets[1]:
        return f"has the data_offsets {shown(offsets)}"
    itemsize, stored = _BYTES.get(tensor["dtype"]), offsets[1] - offsets[0]
    if itemsize and math.prod(shape) * itemsize != stored:
        return f"has the shape {shown(shape)} of {shown(tensor['dtype'])[1:-1]} in {stored} bytes"
    return ""


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. `NaN` and `Infinity` may be in it. Raises CorruptFile."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise CorruptFile(
                f"{path} is larger than {MAX_JSON:,} bytes, as no such file of a model is: fetch it again"
            )
        value = parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise CorruptFile(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path} is not readable JSON (not UTF-8 at byte {error.start}): fetch it again") from error
    except DataError as error:
        raise CorruptFile(f"{error}, or fetch the file again") from error
    if not isinstance(value, dict):
        raise CorruptFile(f"{path} should hold a JSON object and holds a {type(value).__name__}: fetch it again")
    return value


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


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
