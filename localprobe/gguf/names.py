"""Mapping GGUF tensors to Hugging Face tensors, and undoing the changes of llama.cpp's converter.

llama.cpp's converter interleaves the rows of q and k of Llama models (so that rotary pairs are neighbours) and adds 1
to Gemma's norms. The names come from the gguf package's own map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.header import Header, TensorInfo
from localprobe.gguf.sizes import Sizes

_BLOCK = "input_layernorm.weight self_attn.o_proj.weight post_attention_layernorm.weight mlp.down_proj.weight"
_SPLIT = (
    "self_attn.q_proj.weight self_attn.k_proj.weight self_attn.v_proj.weight mlp.gate_proj.weight mlp.up_proj.weight"
)
_QKV_BIAS = "self_attn.q_proj.bias self_attn.k_proj.bias self_attn.v_proj.bias"
_ATTENTION_BIAS = f"{_QKV_BIAS} self_attn.o_proj.bias"
_MLP_BIAS = "mlp.gate_proj.bias mlp.up_proj.bias mlp.down_proj.bias"
_QK_NORM = "self_attn.q_norm.weight self_attn.k_norm.weight"
_TENSORS = {
    "llama": f"{_BLOCK} {_SPLIT}",
    "qwen2": f"{_BLOCK} {_SPLIT} {_QKV_BIAS}",
    "qwen3": f"{_BLOCK} {_SPLIT} {_QK_NORM}",
    "phi3": f"{_BLOCK} self_attn.qkv_proj.weight mlp.gate_up_proj.weight",
    "gemma3": f"{_BLOCK} {_SPLIT} {_QK_NORM} pre_feedforward_layernorm.weight post_feedforward_layernorm.weight",
}
_ROPE = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}  # these go into the config


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The GGUF tensor that one Hugging Face tensor is made from."""

    name: str
    """The Hugging Face name."""
    info: TensorInfo
    """The tensor in the GGUF file, of the same shape."""
    rows: NDArray[np.int64] | None = None
    """Row `i` is row `rows[i]` of the GGUF's; None leaves rows as they are."""
    shift: float = 0.0
    """Added to every element."""


def biases(header: Header) -> dict[str, bool]:
    """The bias flags of a Llama config: whether attention and MLP have biases."""
    return {
        "attention_bias": "blk.0.attn_q.bias" in header.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in header.tensors,
    }


def sources(header: Header, sizes: Sizes) -> list[Source]:
    """Every tensor of the Hugging Face model, in order. Raises CorruptFile if one is missing or has the wrong shape,
    UnsupportedModel if the GGUF file has an extra one."""
    mapped = [_source(header, sizes, theirs, ours) for theirs, ours in _pairs(header, sizes)]
    unknown = set(header.tensors) - {source.info.name for source in mapped} - _ROPE
    unknown = {name for name in unknown if not name.endswith(".attn_rot_embd.weight")}  # unused tensor of old files
    if unknown:
        raise UnsupportedModel(
            f"{header.path} holds the tensor {min(unknown)!r}, which no {header.architecture} model in Hugging Face's "
            "form has: use the llama engine, which reads the GGUF itself"
        )
    return mapped


def _pairs(header: Header, sizes: Sizes) -> list[tuple[str, str]]:
    """(Hugging Face name, GGUF name) of each tensor."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    family = header.architecture
    block = _TENSORS[family].split()
    if family == "llama":
        have = biases(header)
        block += _ATTENTION_BIAS.split() if have["attention_bias"] else []
        block += _MLP_BIAS.split() if have["mlp_bias"] else []
    names = ["model.embed_tokens.weight"]
    names += [f"model.layers.{layer}.{name}" for layer in range(sizes.layers) for name in block]
    names += ["model.norm.weight"]
    names += ["lm_head.weight"] if "output.weight" in header.tensors else []
    arch = next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == family)
    gguf_names = get_tensor_name_map(arch, sizes.layers)
    return [(name, str(gguf_names.get_name(name, (".weight", ".bias")))) for name in names]


def _source(header: Header, sizes: Sizes, theirs: str, ours: str) -> Source:
    info = header.tensors.get(ours)
    if info is None:
        raise CorruptFile(f"{header.path}: the tensor {ours} is missing")
    expected = _shape(theirs, sizes)
    if info.shape != expected:
        raise CorruptFile(f"{header.path}: the tensor {ours} has the shape {info.shape}, its metadata say {expected}")
    rows = None
    if header.architecture == "llama" and ".q_proj." in theirs:
        rows = _unpermuted(sizes.heads, sizes.head_width)
    if header.architecture == "llama" and ".k_proj." in theirs:
        rows = _unpermuted(sizes.kv_heads, sizes.head_width)
    shift = -1.0 if header.architecture == "gemma3" and theirs.endswith("norm.weight") else 0.0
    return Source(theirs, info, rows, shift)


def _unpermuted(heads: int, head_width: int) -> NDArray[np.int64]:
    """Row order that undoes the interleaving: within a head, even rows first, then odd ones."""
    rows = np.arange(heads * head_width)  # (heads * head_width,)
    return rows.reshape(heads, head_width // 2, 2).swapaxes(1, 2).ravel()


def _shape(name: str, sizes: Sizes) -> tuple[int, ...]:
    """The shape that a Hugging Face tensor must have."""
    module, kind = name.split(".")[-2:]
    width, queries, keys = sizes.width, sizes.heads * sizes.head_width, sizes.kv_heads * sizes.head_width
    shapes = {
        "embed_tokens": (sizes.vocabulary, width),
        "lm_head": (sizes.vocabulary, width),
        "q_proj": (queries, width),
        "k_proj": (keys, width),
        "v_proj": (keys, width),
        "qkv_proj": (queries + 2 * keys, width),
        "o_proj": (width, queries),
        "gate_proj": (sizes.feed_forward, width),
        "up_proj": (sizes.feed_forward, width),
        "gate_up_proj": (2 * sizes.feed_forward, width),
        "down_proj": (width, sizes.feed_forward),
        "q_norm": (sizes.head_width,),
        "k_norm": (sizes.head_width,),
    }
    shape = shapes.get(module, (width,))  # the other norms
    return shape[:1] if kind == "bias" else shape
