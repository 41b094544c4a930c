"""Writes a tiny model as a GGUF file that llama.cpp loads: the same weights as the folder of the same seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from localprobe.engine import FloatArray
from localprobe.testing.tiny.configs import CONTEXT, HEAD, HEADS, INNER, KEY_VALUE_HEADS, WIDTH, config
from localprobe.testing.tiny.tokenizer import (
    BOS_ARCHITECTURES,
    QWEN_ARCHITECTURES,
    SPECIALS,
    VOCABULARY,
    chat_template,
    tokenizer,
)
from localprobe.testing.tiny.weights import weights

if TYPE_CHECKING:
    from gguf import GGUFWriter

_NAMES = {"llama": "llama", "qwen2": "qwen2", "phi3": "phi3", "gemma3_text": "gemma3"}
"""Hugging Face's name of an architecture -> llama.cpp's."""
GGUF_ARCHITECTURES = tuple(_NAMES)


def tiny_gguf(architecture: str, path: Path, seed: int = 0) -> Path:
    """Write a tiny random model of `architecture` (one of GGUF_ARCHITECTURES) to the file `path`, and return it."""
    import gguf

    model = config(architecture)
    layers = model["num_hidden_layers"]
    writer = gguf.GGUFWriter(path, _NAMES[architecture])
    _write_config(writer, model)
    _write_tokenizer(writer, architecture)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[_NAMES[architecture].upper()], layers)
    for name, tensor in weights(architecture, seed).items():
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), _as_llama_cpp(architecture, name, tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _as_llama_cpp(architecture: str, name: str, tensor: FloatArray) -> FloatArray:
    """A tensor as llama.cpp stores it: Gemma's norms with their 1 added, Llama's q and k rows interleaved for RoPE."""
    if architecture == "gemma3_text" and name.endswith("norm.weight"):
        return tensor + np.float32(1)
    if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = len(tensor) // HEAD
        return np.ascontiguousarray(tensor.reshape(heads, 2, HEAD // 2, WIDTH).swapaxes(1, 2).reshape(tensor.shape))
    return tensor


def _write_config(writer: GGUFWriter, model: dict[str, Any]) -> None:
    writer.add_name("tiny")  # a name with phi3 in it makes llama.cpp look for Phi-3's own special tokens, and fail
    writer.add_file_type(0)  # all F32
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(model["num_hidden_layers"])
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(model["rope_theta"])
    writer.add_layer_norm_rms_eps(model["rms_norm_eps"])
    writer.add_vocab_size(VOCABULARY)
    if model["model_type"] == "gemma3_text":
        writer.add_sliding_window(model["sliding_window"])


def _write_tokenizer(writer: GGUFWriter, architecture: str) -> None:
    import gguf

    bpe = json.loads(tokenizer(architecture).to_str())
    tokens = sorted(bpe["model"]["vocab"], key=bpe["model"]["vocab"].__getitem__) + list(SPECIALS)
    types = [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIALS)) + [gguf.TokenType.CONTROL] * len(SPECIALS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if architecture in QWEN_ARCHITECTURES else "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in bpe["model"]["merges"]])
    writer.add_bos_token_id(SPECIALS["<|bos|>" if architecture in BOS_ARCHITECTURES else "<|end|>"])
    writer.add_eos_token_id(SPECIALS["<|end|>"])
    writer.add_eot_token_id(SPECIALS["<|im_end|>"])
    writer.add_pad_token_id(SPECIALS["<|pad|>"])
    writer.add_add_bos_token(architecture in BOS_ARCHITECTURES)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(chat_template(architecture))
