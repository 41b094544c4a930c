"""`config.json` of the tiny models, with the same meaning for transformers 5 and mlx-lm."""

from __future__ import annotations

from typing import Any

from localprobe.testing.tiny.tokenizer import BOS_ARCHITECTURES, SPECIALS, VOCABULARY

LAYERS, WIDTH, HEADS, KEY_VALUE_HEADS, INNER, CONTEXT = 4, 64, 4, 2, 96, 256
HEAD = WIDTH // HEADS
WINDOW = 8
"""Shorter than the texts of the contract suite."""

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
}
ARCHITECTURES = tuple(_CLASSES)


def config(architecture: str) -> dict[str, Any]:
    """The config of a tiny model, as transformers would write it plus the older keys that mlx-lm reads."""
    common = {
        "architectures": [_CLASSES[architecture]],
        "model_type": architecture,
        "vocab_size": VOCABULARY,
        "dtype": "float32",
        "torch_dtype": "float32",
        "bos_token_id": SPECIALS["<|bos|>"] if architecture in BOS_ARCHITECTURES else SPECIALS["<|end|>"],
        "eos_token_id": [SPECIALS["<|end|>"], SPECIALS["<|im_end|>"]],
        "pad_token_id": SPECIALS["<|pad|>"],
    }
    if architecture == "gpt2":
        return common | _gpt2()
    if architecture == "gpt_neox":
        return common | _gpt_neox()
    return common | _llama_like() | _EXTRA.get(architecture, {})


def _llama_like() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        **_rope(10_000.0),
    }


def _rope(theta: float) -> dict[str, Any]:
    """transformers 5 reads `rope_parameters`, mlx-lm `rope_theta`: without it residuals are silently wrong."""
    return {"rope_theta": theta, "rope_scaling": None, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}


def _gpt2() -> dict[str, Any]:
    return {
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": CONTEXT,
        "n_ctx": CONTEXT,
        "n_inner": 4 * WIDTH,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": True,
    }


def _gpt_neox() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "gelu_new",  # the approximation that mlx-lm always uses
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
        "rotary_pct": 0.5,
        "rotary_emb_base": 10_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    }


_EXTRA: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": WINDOW},  # mlx-lm does not read it and attends to everything
    "qwen2": {"tie_word_embeddings": True, **_rope(1_000_000.0)},
    "qwen3": {"attention_bias": False, **_rope(1_000_000.0)},
    "phi3": {"original_max_position_embeddings": CONTEXT, "sliding_window": None, "partial_rotary_factor": 1.0},
    "gemma2": {
        "tie_word_embeddings": True,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": HEAD,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "sliding_window": WINDOW,  # of every other layer; mlx-lm attends to everything
    },
    "gemma3_text": {
        "num_hidden_layers": 6,  # every sixth layer sees everything: a fixed rule of llama.cpp
        "tie_word_embeddings": True,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": HEAD,
        "sliding_window": WINDOW,
        "sliding_window_pattern": 6,
        "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    },
}
