"""The `config.json` and `generation_config.json` of a converted model, valid for both transformers and mlx-lm."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from localprobe.errors import CorruptFile
from localprobe.gguf.header import Header
from localprobe.gguf.names import biases
from localprobe.gguf.rope import partial_factor, positive, rope, short_decimal
from localprobe.gguf.sizes import Sizes
from localprobe.gguf.tensors import Dtype
from localprobe.gguf.vocabulary import Vocabulary

Config: TypeAlias = dict[str, Any]

_CLASSES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "phi3": ("phi3", "Phi3ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
}
_GEMMA_27B_LAYERS = 62  # the only Gemma 3 that scales queries by width / heads rather than by head width


def config(header: Header, sizes: Sizes, vocabulary: Vocabulary, dtype: Dtype) -> Config:
    """`config.json`. Raises CorruptFile if tokenizer and tensors are inconsistent."""
    if len(vocabulary.tokens) > sizes.vocabulary:
        raise CorruptFile(
            f"{header.path}: its tokenizer has {len(vocabulary.tokens)} tokens, its embedding only {sizes.vocabulary}"
        )
    model_type, class_name = _CLASSES[header.architecture]
    return {
        "architectures": [class_name],
        "model_type": model_type,
        "dtype": dtype,
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.feed_forward,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_width,
        "max_position_embeddings": sizes.context,
        "rms_norm_eps": _epsilon(header),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "use_cache": True,
        **_ids(vocabulary),
        **(_gemma(header, sizes) if header.architecture == "gemma3" else _others(header, sizes)),
    }


def generation_config(vocabulary: Vocabulary) -> Config:
    """`generation_config.json`: ids only, as sampling is the user's choice."""
    return {key: value for key, value in _ids(vocabulary).items() if value is not None}


def _ids(vocabulary: Vocabulary) -> Config:
    ends = list(vocabulary.ends)
    return {
        "bos_token_id": vocabulary.bos,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": vocabulary.padding,
    }


def _epsilon(header: Header) -> float:
    value = header.required(f"{header.architecture}.attention.layer_norm_rms_epsilon", float)
    if not 0 <= value < 1:
        raise CorruptFile(f"{header.path}: its RMS norm's epsilon is {value}")
    return short_decimal(value)


def _others(header: Header, sizes: Sizes) -> Config:
    """The keys of Llama, Qwen and Phi configs beyond the common ones."""
    parameters = rope(header, sizes)
    theta, kind = parameters["rope_theta"], parameters["rope_type"]
    partial = partial_factor(header, sizes)
    extra: Config = {"hidden_act": "silu", "rope_theta": theta, "rope_parameters": parameters}
    if kind != "default":
        extra["rope_scaling"] = {**parameters, "type": kind}
    if header.architecture == "llama":
        extra |= biases(header)
    if header.architecture.startswith("qwen"):
        extra |= {"use_sliding_window": False}
    if header.architecture == "phi3":
        window = header.value("phi3.attention.sliding_window", int) or None  # 0 means none
        original = parameters.get("original_max_position_embeddings", sizes.context)
        extra |= {"sliding_window": window, "original_max_position_embeddings": original}
        if partial != 1.0:
            extra["partial_rotary_factor"] = partial
            parameters["partial_rotary_factor"] = partial
    return extra


def _gemma(header: Header, sizes: Sizes) -> Config:
    """Gemma 3: most layers have a sliding window and their own RoPE base."""
    parameters = rope(header, sizes)
    window = header.value("gemma3.attention.sliding_window", int) or None
    pattern = _pattern(header) if window else 1
    local = positive(header, "gemma3.rope.freq_base_swa", 10_000.0)
    large = sizes.layers == _GEMMA_27B_LAYERS
    extra: Config = {
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": sizes.width // sizes.heads if large else sizes.head_width,
        "sliding_window": window or sizes.context,
        "sliding_window_pattern": pattern,
        "layer_types": [
            "sliding_attention" if (layer + 1) % pattern else "full_attention" for layer in range(sizes.layers)
        ],
        "rope_theta": parameters["rope_theta"],
        "rope_local_base_freq": local,
        "rope_parameters": {
            "full_attention": parameters,
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        },
        "final_logit_softcapping": _softcapping(header),
        "attn_logit_softcapping": None,
    }
    if parameters["rope_type"] != "default":
        extra["rope_scaling"] = parameters
    return extra


def _softcapping(header: Header) -> float | None:
    key = "gemma3.final_logit_softcapping"
    return positive(header, key, 1.0) if header.value(key, float) else None


def _pattern(header: Header) -> int:
    """Period of the layers with full attention. May be stored as one flag per layer: whether it has a sliding
    window."""
    pattern = header.metadata.get("gemma3.attention.sliding_window_pattern", 6)
    if isinstance(pattern, np.ndarray):
        full = np.flatnonzero(~pattern.astype(bool))
        every = int(full[0]) + 1 if len(full) else len(pattern) + 1
        expected = (np.arange(len(pattern)) + 1) % every != 0
        pattern = every if (expected == pattern).all() else 0
    if type(pattern) is not int or pattern < 1:
        raise CorruptFile(f"{header.path}: gemma3.attention.sliding_window_pattern is not a regular pattern")
    return pattern
