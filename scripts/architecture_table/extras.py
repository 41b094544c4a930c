"""What a tiny config needs beside its sizes, by architecture."""

from __future__ import annotations

from typing import Any

_VISION = {"image_size": 28, "patch_size": 14, "num_hidden_layers": 2, "depth": 2}

TRANSFORMERS: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "block_multiple_of": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "bert": {"is_decoder": True},
}

MLX: dict[str, dict[str, Any]] = {}
