"""A Hugging Face folder looked at before it is loaded: is it one, is it whole, how large is it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from localprobe.errors import CorruptFile, ModelError, UnsupportedModel
from localprobe_torch.quiet import first_line

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the headers of a folder's safetensors say."""

    numbers: int
    """How many numbers the weights are."""
    dtype: torch.dtype | None
    """The floating-point type that most of them are stored in; None for another type."""


def inspect(folder: Path) -> Checkpoint:
    """Read the headers of a folder's weights.

    Raises ModelError if it is no model folder, UnsupportedModel if its weights are only pickled, and CorruptFile if a
    file is missing, torn or truncated.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder: give a Hugging Face folder with config.json and safetensors")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is not a model folder: it has no config.json")
    counts: dict[str, int] = {}
    for shard in _shards(folder):
        for dtype, numbers in _tensors(shard):
            counts[dtype] = counts.get(dtype, 0) + numbers
    if not counts:
        raise CorruptFile(f"The weights in {folder} hold no tensors: download them again")
    return Checkpoint(sum(counts.values()), _DTYPES.get(max(counts, key=lambda dtype: counts[dtype])))


def _shards(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise CorruptFile(f"{index} cannot be read: download it again") from None
        if any(Path(str(name)).name != name for name in names):
            raise CorruptFile(f"{index} names files outside of its folder")
    else:
        names = [_SINGLE]
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return [folder / name for name in names]
    if missing == [_SINGLE] and any(folder.glob("*.bin")):
        raise UnsupportedModel(
            f"{folder} holds only pickled weights (.bin), which can run code: convert to safetensors"
        )
    raise CorruptFile(f"{folder} lacks {', '.join(missing)}: download it again")


def _tensors(shard: Path) -> Iterator[tuple[str, int]]:
    """Type and count of numbers of each tensor."""
    try:
        with safe_open(shard, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_slice(name)
                yield tensor.get_dtype(), prod(tensor.get_shape())
    except (SafetensorError, OSError) as error:
        raise CorruptFile(f"{shard} is torn or no safetensors file ({first_line(error)}): download it again") from None
