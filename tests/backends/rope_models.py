"""Tiny models with every kind of RoPE that transformers knows, and what transformers computes for texts alone.

Run as a program, it writes transformers' hidden states: MLX and torch do not share a process well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.engine import FloatArray, IntArray
from localprobe.testing.tiny import tiny_folder
from localprobe.testing.tiny.configs import CONTEXT, HEAD

ORIGINAL = 64
"""The context before it was extended, in tokens: rows up to it are short ones to long RoPE."""
LENGTHS = (20, ORIGINAL, ORIGINAL + 1, 120, 40)
"""Of the rows of a mixed batch, on both sides."""
SHORT, LONG = (np.linspace(low, high, HEAD // 2).round(2).tolist() for low, high in ((1, 2), (2, 9)))
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL}
_LONG = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}
_LONG_IN_ROPE = _LONG | {"original_max_position_embeddings": ORIGINAL}


def _rope(**parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10_000.0, **parameters}}


def _gemma3(**full: Any) -> dict[str, Any]:
    """Gemma 3, whose layers of full attention have a RoPE of their own."""
    sliding = {"rope_type": "default", "rope_theta": 10_000.0}
    return {"rope_parameters": {"full_attention": {"rope_theta": 1e6, **full}, "sliding_attention": sliding}}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("llama", _rope(rope_type="default")),
    "linear": ("llama", _rope(rope_type="linear", factor=4.0)),
    "dynamic": ("llama", _rope(rope_type="dynamic", factor=2.0)),
    "llama3": (
        "llama",
        _rope(
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=ORIGINAL,
        ),
    ),
    "yarn": ("llama", _rope(**_YARN)),
    "yarn, betas": ("llama", _rope(**_YARN, beta_fast=8.0, beta_slow=2.0)),
    "yarn, attention_factor": ("llama", _rope(**_YARN, attention_factor=1.7)),
    "yarn, mscale": ("llama", _rope(**_YARN, mscale=1.9, mscale_all_dim=0.4)),
    "yarn, mscale alone": ("llama", _rope(**_YARN, mscale=1.9)),
    "yarn, not truncated": ("llama", _rope(**_YARN, truncate=False)),
    "yarn, as older files write it": (
        "qwen2",
        {"rope_parameters": None, "rope_theta": 5e4, "rope_scaling": {"type": "yarn", "factor": 4.0}},
    ),
    "yarn where mlx-lm ignores it": ("gemma2", _rope(**_YARN)),
    "longrope": ("llama", _rope(**_LONG_IN_ROPE)),
    "longrope, factor": ("llama", _rope(**_LONG_IN_ROPE, factor=16.0)),
    "longrope, attention_factor": ("llama", _rope(**_LONG_IN_ROPE, attention_factor=1.3)),
    "longrope, Phi-3": ("phi3", _rope(**_LONG, attention_factor=1.2) | {"original_max_position_embeddings": ORIGINAL}),
    "longrope, as older files write it": (
        "phi3",
        {
            "rope_parameters": None,
            "rope_theta": 10_000.0,
            "rope_scaling": {"type": "longrope", "short_factor": SHORT, "long_factor": LONG},
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
    "longrope, partial": (
        "phi3",
        _rope(rope_type="longrope", short_factor=SHORT[:4], long_factor=LONG[:4], partial_rotary_factor=0.5)
        | {"original_max_position_embeddings": ORIGINAL, "partial_rotary_factor": 0.5},
    ),
    "default, partial": ("phi3", _rope(rope_type="default", partial_rotary_factor=0.5)),
    "linear, partial": ("gpt_neox", _rope(rope_type="linear", factor=4.0, partial_rotary_factor=0.5)),
    "by layer, linear": ("gemma3_text", _gemma3(rope_type="linear", factor=8.0)),
    "by layer, yarn": ("gemma3_text", _gemma3(**_YARN)),
    "by layer, longrope": ("gemma3_text", _gemma3(**_LONG_IN_ROPE)),
    "by layer, as older files write it": (
        "gemma3_text",
        {"rope_parameters": None, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
}
SIDED = [name for name, (_, config) in VARIANTS.items() if "longrope" in name]
"""Those whose rows of more than ORIGINAL tokens are rotated by other factors."""


def write(name: str, folder: Path) -> Path:
    """The model of a variant."""
    architecture, changes = VARIANTS[name]
    path = tiny_folder(architecture, folder) / "config.json"
    config = json.loads(path.read_text()) | {"rope_scaling": None} | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


def texts() -> list[IntArray]:
    random = np.random.default_rng(0)
    return [random.integers(5, 380, length).astype(np.int32) for length in LENGTHS]


def transformers_states(folder: Path) -> list[FloatArray]:
    """Hidden states (layers - 1, n, width) after each block but the last, of each text alone."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    states = []
    for ids in texts():
        with torch.inference_mode():
            output = model(torch.from_numpy(ids.astype(np.int64))[None], output_hidden_states=True, use_cache=False)
        states.append(torch.stack(output.hidden_states[1:-1])[:, 0].numpy())
    return states


def main(output: Path, *folders: Path) -> None:
    """Write the states of each folder, as `folder name/text number`."""
    states = {folder: transformers_states(folder) for folder in folders}
    arrays = {f"{folder.name}/{i}": state for folder, own in states.items() for i, state in enumerate(own)}
    np.savez(output, **arrays)  # type: ignore[arg-type]


assert max(LENGTHS) < CONTEXT
if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
