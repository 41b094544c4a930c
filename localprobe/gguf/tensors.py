"""Tensors of a GGUF file, dequantised a few rows at a time and written as safetensors shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray
from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.header import Header, TensorInfo
from localprobe.gguf.names import Source
from localprobe.store import safetensors_file

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
DTYPE_BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
SHARD_BYTES = 4 << 30
_SAFETENSORS_NAMES: dict[Dtype, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_CHUNK = 1 << 22  # elements dequantised at once: 16 MB as float32


def check_types(header: Header, sources: Sequence[Source]) -> None:
    """Raise UnsupportedModel if the gguf package cannot dequantise one of the tensors."""
    from gguf import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    for info in {source.info.type: source.info for source in sources}.values():
        try:
            dequantize(np.zeros((1, GGML_QUANT_SIZES[info.type][1]), np.uint8), info.type)
        except NotImplementedError as error:
            raise UnsupportedModel(
                f"{header.path}: the tensor {info.name} is {info.type.name}, which the gguf package cannot "
                "dequantise: use the llama engine, or another quantisation of the model"
            ) from error


def load(header: Header, info: TensorInfo) -> FloatArray:
    """One whole tensor, dequantised to float32."""
    (whole,) = _chunks(header, Source(info.name, info), info.count)
    return whole


def write_shards(
    header: Header, sources: Sequence[Source], folder: Path, dtype: Dtype, written: Callable[[int], None]
) -> dict[str, str]:
    """Write `model.safetensors`, or numbered shards and their index, into `folder`.

    Returns the SHA-256 of each shard by its name. `written` is called with the number of bytes just written. Only a few
    rows are in memory at a time. Raises CorruptFile if a tensor holds NaN or infinity, OSError if the disk is full.
    """
    shards = _shards(sources, dtype)
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    names = ["model.safetensors"] if len(shards) == 1 else names
    hashes = {
        name: _write_shard(header, shard, folder / name, dtype, written)
        for name, shard in zip(names, shards, strict=True)
    }
    if len(shards) > 1:
        places = {source.name: name for name, shard in zip(names, shards, strict=True) for source in shard}
        index = {"metadata": {"total_size": total_bytes(sources, dtype)}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    return hashes


def total_bytes(sources: Sequence[Source], dtype: Dtype) -> int:
    """Total bytes of the tensors in a dtype."""
    return sum(source.info.count for source in sources) * DTYPE_BYTES[dtype]


def _shards(sources: Sequence[Source], dtype: Dtype) -> list[list[Source]]:
    """Tensors in order, in shards of at most SHARD_BYTES."""
    shards: list[list[Source]] = [[]]
    filled = 0
    for source in sources:
        size = total_bytes([source], dtype)
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(source)
        filled += size
    return shards


def _write_shard(
    header: Header, shard: Sequence[Source], path: Path, dtype: Dtype, written: Callable[[int], None]
) -> str:
    """Write one file. Returns its SHA-256."""
    pieces = (_cast(header, source, chunk, dtype).data for source in shard for chunk in _chunks(header, source))
    return safetensors_file.write(path, _safetensors_header(shard, dtype), pieces, written)


def _safetensors_header(shard: Sequence[Source], dtype: Dtype) -> dict[str, Any]:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for source in shard:
        end = at + total_bytes([source], dtype)
        shape = list(source.info.shape)
        entries[source.name] = {"dtype": _SAFETENSORS_NAMES[dtype], "shape": shape, "data_offsets": [at, end]}
        at = end
    return entries


def _chunks(header: Header, source: Source, numbers: int = _CHUNK) -> Iterator[FloatArray]:
    """A tensor's rows as float32 in Hugging Face's order, about `numbers` elements at a time."""
    from gguf.quants import dequantize

    info = source.info
    columns = info.shape[-1] if len(info.shape) > 1 else 1
    count = info.count // columns
    if len(info.shape) == 1:  # stored as one row, whose elements `rows` reorders
        raw = np.memmap(header.file(info), np.uint8, "r", info.offset, (1, info.nbytes))
        flat = dequantize(raw, info.type).reshape(-1)
        yield _shifted(flat if source.rows is None else flat[source.rows], source)
        return
    raw = np.memmap(header.file(info), np.uint8, "r", info.offset, (count, info.nbytes // count))
    step = max(1, numbers // columns)
    for start in range(0, count, step):
        stored = raw[start : start + step] if source.rows is None else raw[source.rows[start : start + step]]
        with np.errstate(all="ignore"):  # a damaged file may hold any bits; `_cast` checks the result
            rows = dequantize(stored, info.type)  # (rows, columns)
        yield _shifted(rows, source)


def _shifted(rows: FloatArray, source: Source) -> FloatArray:
    return rows + np.float32(source.shift) if source.shift else rows


def _cast(header: Header, source: Source, rows: FloatArray, dtype: Dtype) -> NDArray[Any]:
    """Bytes of rows in a dtype; bfloat16 rounds to the nearest, ties to even."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    rows = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(rows).all():
        raise CorruptFile(f"{header.path}: the tensor {source.info.name} holds NaN or infinity; download it again")
    if dtype == "float32":
        return rows
    if dtype == "bfloat16":
        rounded: NDArray[Any] = quantize(rows, GGMLQuantizationType.BF16)
        return np.ascontiguousarray(rounded)
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    if not np.isfinite(half).all():
        raise UnsupportedModel(
            f"{header.path}: the tensor {source.info.name} does not fit into float16; take bfloat16 or float32"
        )
    return half
