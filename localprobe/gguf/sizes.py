"""The sizes of a model, from a GGUF's metadata, and the model families that can be converted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.header import Header, Value
from localprobe.suggest import shown

FAMILIES = ("llama", "qwen2", "qwen3", "phi3", "gemma3")
"""By llama.cpp's names; `llama` covers Mistral and SmolLM2."""

_LIMIT = 1 << 24  # far above the sizes of real models


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes that determine the shape of every tensor."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int
    context: int


def sizes(header: Header) -> Sizes:
    """Read a model's sizes. Raises UnsupportedModel for another family or a mixture of experts, CorruptFile."""
    family = header.architecture
    if family not in FAMILIES:
        raise UnsupportedModel(
            f"{header.path} is a model of the architecture {shown(family)}; only {', '.join(FAMILIES)} can be "
            "converted for other engines: use the llama engine, or a Hugging Face folder of the model"
        )
    if header.value(f"{family}.expert_count", int):
        raise UnsupportedModel(f"{header.path} is a mixture of experts, which only the llama engine can run")
    width, heads = _size(header, "embedding_length"), _size(header, "attention.head_count")
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise CorruptFile(f"{header.path} holds no weights: the tensor token_embd.weight is missing")
    head_width = _size(header, "attention.key_length", width // heads)
    if _size(header, "attention.value_length", head_width) != head_width:
        raise UnsupportedModel(f"{header.path}: its keys and values differ in length, which only llama.cpp can run")
    layers = _size(header, "block_count")
    if layers > len(header.tensors):
        raise CorruptFile(f"{header.path}: it claims {layers:,} layers, but holds {len(header.tensors)} tensors")
    if head_width % 2:
        raise CorruptFile(f"{header.path}: its heads are {head_width} wide, an odd number")
    return Sizes(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=_size(header, "attention.head_count_kv", heads),
        head_width=head_width,
        feed_forward=_size(header, "feed_forward_length"),
        vocabulary=embedding.shape[0],
        context=_size(header, "context_length"),
    )


def _size(header: Header, name: str, default: int | None = None) -> int:
    key = f"{header.architecture}.{name}"
    value = _same_everywhere(header, key, header.metadata.get(key))
    if value is None and default is None:
        raise CorruptFile(f"{header.path}: {key} is missing from its metadata")
    size = default if value is None else value
    if type(size) is not int or not 1 <= size < _LIMIT:
        raise CorruptFile(f"{header.path}: {key} is {shown(size)}, which cannot be")
    return size


def _same_everywhere(header: Header, key: str, value: Value | None) -> Value | None:
    """The common value of a size that may be listed per layer."""
    if not isinstance(value, np.ndarray):
        return value
    if len(set(value.tolist())) != 1:
        raise UnsupportedModel(f"{header.path}: {key} differs from layer to layer, which only llama.cpp can run")
    first: int = value.tolist()[0]
    return first
