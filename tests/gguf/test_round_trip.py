"""A model in transformers -> GGUF as llama.cpp's converter stores it -> our folder -> transformers: nothing moves.

llama.cpp runs the same GGUF, so that a mistake made both ways would show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.gguf import to_folder
from tests.gguf.reference import Reference
from tests.gguf.writer import tokens, write_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

COMMON = {
    "vocab_size": len(tokens()),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.8],
    "long_factor": [1.0, 1.5, 2.0, 4.0, 8.0, 12.0],
    "factor": 2.0,
    "original_max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LONG_HEADS = {"head_dim": 64, "max_position_embeddings": 16384}
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 128}
YARN_KEYS = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 128,
}
GEMMA_ROPE = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
}
GEMMA = {"sliding_window": 8, "query_pre_attn_scalar": 32, "head_dim": 32, "num_hidden_layers": 7}
LINEAR_KEYS = {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
ATTENTION_FACTOR = (1 + np.log(2) / np.log(256)) ** 0.5


def llama3_factors() -> Any:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = transformers.LlamaConfig(**COMMON | LONG_HEADS, rope_parameters=LLAMA3)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 500_000.0 ** -(np.arange(0, 64, 2) / 64)
    return plain / scaled.numpy()


# config class, what it has beyond COMMON, GGUF keys that say the same
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}, {}),
    "llama tied, wide heads, biases": (
        "LlamaConfig",
        {"tie_word_embeddings": True, "head_dim": 32, "attention_bias": True, "mlp_bias": True},
        {},
    ),
    "llama 3": ("LlamaConfig", LONG_HEADS | {"rope_parameters": LLAMA3}, {}),
    "llama stretched": ("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "factor": 8.0}}, LINEAR_KEYS),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}, {}),
    "qwen2 stretched": ("Qwen2Config", {"rope_parameters": YARN}, YARN_KEYS),
    "qwen3": ("Qwen3Config", {"head_dim": 32}, {}),
    "phi3": ("Phi3Config", {"sliding_window": None}, {}),
    "phi3 long": (
        "Phi3Config",
        {"rope_parameters": LONG, "original_max_position_embeddings": 256},
        {"rope.scaling.original_context_length": 256, "rope.scaling.attn_factor": float(ATTENTION_FACTOR)},
    ),
    "gemma3": ("Gemma3TextConfig", GEMMA, {"attention.sliding_window": 8}),
    "gemma3 stretched": (
        "Gemma3TextConfig",
        GEMMA | {"rope_parameters": GEMMA_ROPE},
        {"attention.sliding_window": 8} | LINEAR_KEYS,
    ),
}


def random_model(class_name: str, extra: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, class_name)(**COMMON | extra)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("norm.weight", ".bias")):  # as made they are all ones or zeros
                weight.add_(0.3 * torch.randn_like(weight))
            else:
                weight.mul_(4)
    return model


def logits(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


@pytest.mark.parametrize("name", MODELS)
def test_logits_survive_the_round_trip_and_are_llama_cpps(name: str, tmp_path: Path) -> None:
    class_name, extra, metadata = MODELS[name]
    model = random_model(class_name, extra)
    rope: dict[str, Any] = {}
    if name == "llama 3":
        rope = {"rope_freqs": llama3_factors()}
    if name == "phi3 long":
        rope = {"rope_factors_short": LONG["short_factor"], "rope_factors_long": LONG["long_factor"]}
    path = write_model(model, tmp_path / "model.gguf", metadata, **rope)
    again = transformers.AutoModelForCausalLM.from_pretrained(to_folder(path, name, tmp_path / "cache"))
    reference = Reference(path)

    # longer than Gemma's window; and for Phi once within its original context, once past it
    for length, context in [(40, 0), (300, 512)] if name == "phi3 long" else [(40, 0)]:
        ids = np.random.default_rng(0).integers(0, len(tokens()), length).tolist()
        expected = logits(model, ids)
        np.testing.assert_allclose(logits(again, ids), expected, atol=1e-5)
        # gelu in llama.cpp is a table of float16
        np.testing.assert_allclose(reference.logits(ids, context), expected, atol=0.02 if "gemma" in name else 1e-3)
    reference.close()


def test_a_folder_says_what_mlx_lm_reads_too(tmp_path: Path) -> None:
    import json

    path = write_model(
        random_model("LlamaConfig", LONG_HEADS | {"rope_parameters": LLAMA3}),
        tmp_path / "model.gguf",
        rope_freqs=llama3_factors(),
    )
    config = json.loads((to_folder(path, "f", tmp_path) / "config.json").read_text())
    assert config["rope_parameters"] == LLAMA3
    assert config["rope_theta"] == 500_000.0
    assert config["rope_scaling"] == LLAMA3 | {"type": "llama3"}
