"""Random weights of the tiny models under their Hugging Face names, scaled so that residuals are of order one."""

from __future__ import annotations

from typing import Any

import numpy as np

from localprobe.engine import FloatArray
from localprobe.testing.tiny.configs import HEAD, HEADS, INNER, KEY_VALUE_HEADS, WIDTH, config
from localprobe.testing.tiny.tokenizer import VOCABULARY


class _Draws:
    """Random tensors, always drawn in the same order for the same architecture."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.tensors: dict[str, FloatArray] = {}

    def matrix(self, name: str, outputs: int, inputs: int, gain: float = 1.0) -> None:
        """A projection (outputs, inputs) that keeps a vector's scale, times `gain`."""
        self.normal(name, (outputs, inputs), gain * inputs**-0.5)

    def normal(self, name: str, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> None:
        self.tensors[name] = self._random.normal(mean, deviation, shape).astype(np.float32)

    def norm(self, name: str, width: int = WIDTH, mean: float = 1.0) -> None:
        self.normal(f"{name}.weight", (width,), 0.1, mean)

    def linear(self, name: str, outputs: int, inputs: int, gain: float = 1.0) -> None:
        """A projection with a bias."""
        self.matrix(f"{name}.weight", outputs, inputs, gain)
        self.normal(f"{name}.bias", (outputs,), 0.1)

    def layer_norm(self, name: str, mean: float = 1.0) -> None:
        self.norm(name, mean=mean)
        self.normal(f"{name}.bias", (WIDTH,), 0.1)


def weights(architecture: str, seed: int = 0) -> dict[str, FloatArray]:
    """All tensors of a tiny model, float32, by Hugging Face name."""
    draws = _Draws(seed)
    model = config(architecture)
    if architecture == "gpt2":
        _gpt2(draws, model)
    elif architecture == "gpt_neox":
        _gpt_neox(draws, model)
    else:
        _llama_like(draws, model)
    return draws.tensors


def _llama_like(draws: _Draws, model: dict[str, Any]) -> None:
    gemma = model["model_type"].startswith("gemma")
    mean = 0.0 if gemma else 1.0  # Gemma adds 1 to the weights of its norms
    # Embeddings are small, so that a tied head does not simply repeat a token. Gemma multiplies them by sqrt(width).
    draws.normal("model.embed_tokens.weight", (VOCABULARY, WIDTH), 0.02 if gemma else 0.25)
    for layer in range(model["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        draws.norm(f"{block}.input_layernorm", mean=mean)
        draws.norm(f"{block}.post_attention_layernorm", mean=mean)
        if gemma:
            draws.norm(f"{block}.pre_feedforward_layernorm", mean=mean)
            draws.norm(f"{block}.post_feedforward_layernorm", mean=mean)
        _attention(draws, model["model_type"], f"{block}.self_attn", mean)
        if model["model_type"] == "phi3":
            draws.matrix(f"{block}.mlp.gate_up_proj.weight", 2 * INNER, WIDTH, gain=2)
        else:
            draws.matrix(f"{block}.mlp.gate_proj.weight", INNER, WIDTH, gain=2)
            draws.matrix(f"{block}.mlp.up_proj.weight", INNER, WIDTH)
        draws.matrix(f"{block}.mlp.down_proj.weight", WIDTH, INNER)
    draws.norm("model.norm", mean=9.0 if gemma else mean)  # makes up for Gemma's smaller embeddings in the logits
    if not model["tie_word_embeddings"]:
        draws.matrix("lm_head.weight", VOCABULARY, WIDTH, gain=2)


def _attention(draws: _Draws, architecture: str, name: str, mean: float) -> None:
    narrow = KEY_VALUE_HEADS * HEAD
    if architecture == "phi3":
        draws.matrix(f"{name}.qkv_proj.weight", WIDTH + 2 * narrow, WIDTH, gain=1.5)
    else:
        for part, outputs in (("q_proj", WIDTH), ("k_proj", narrow), ("v_proj", narrow)):
            draws.matrix(f"{name}.{part}.weight", outputs, WIDTH, gain=1.5)
            if architecture == "qwen2":
                draws.normal(f"{name}.{part}.bias", (outputs,), 0.1)
    if architecture in {"qwen3", "gemma3_text"}:
        draws.norm(f"{name}.q_norm", HEAD, mean)
        draws.norm(f"{name}.k_norm", HEAD, mean)
    draws.matrix(f"{name}.o_proj.weight", WIDTH, HEADS * HEAD)


def _gpt2(draws: _Draws, model: dict[str, Any]) -> None:
    draws.normal("wte.weight", (VOCABULARY, WIDTH), 0.1)
    draws.normal("wpe.weight", (model["n_positions"], WIDTH), 0.25)
    for layer in range(model["n_layer"]):
        block = f"h.{layer}"
        draws.layer_norm(f"{block}.ln_1")
        draws.layer_norm(f"{block}.ln_2")
        draws.linear(f"{block}.attn.c_attn", 3 * WIDTH, WIDTH, gain=1.5)
        draws.linear(f"{block}.attn.c_proj", WIDTH, WIDTH)
        draws.linear(f"{block}.mlp.c_fc", 4 * WIDTH, WIDTH, gain=1.5)
        draws.linear(f"{block}.mlp.c_proj", WIDTH, 4 * WIDTH)
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            name = f"{block}.{part}.weight"  # GPT-2 keeps its projections as (inputs, outputs)
            draws.tensors[name] = np.ascontiguousarray(draws.tensors[name].T)
    draws.layer_norm("ln_f", mean=2.5)


def _gpt_neox(draws: _Draws, model: dict[str, Any]) -> None:
    draws.normal("gpt_neox.embed_in.weight", (VOCABULARY, WIDTH), 0.25)
    for layer in range(model["num_hidden_layers"]):
        block = f"gpt_neox.layers.{layer}"
        draws.layer_norm(f"{block}.input_layernorm")
        draws.layer_norm(f"{block}.post_attention_layernorm")
        draws.linear(f"{block}.attention.query_key_value", 3 * WIDTH, WIDTH, gain=1.5)
        draws.linear(f"{block}.attention.dense", WIDTH, WIDTH)
        draws.linear(f"{block}.mlp.dense_h_to_4h", 4 * WIDTH, WIDTH, gain=1.5)
        draws.linear(f"{block}.mlp.dense_4h_to_h", WIDTH, 4 * WIDTH)
    draws.layer_norm("gpt_neox.final_layer_norm")
    draws.matrix("embed_out.weight", VOCABULARY, WIDTH, gain=2)
