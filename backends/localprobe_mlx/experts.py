"""Weights of experts for mlx-lm, which joins one tensor per expert, out of those that transformers 5 keeps joined.

transformers 5 holds an architecture's experts as `experts.gate_up_proj` (experts, 2 * inner, width) and
`experts.down_proj` (experts, width, inner), and saves them so with `save_original_format=False`.
"""

from __future__ import annotations

import re
from typing import Any

import mlx.core as mx

_DENSE = re.compile(r"\.block_sparse_moe\.(gate_proj|up_proj|down_proj)\.")
_LLAMA = ("gate_proj", "up_proj", "down_proj")
_MIXTRAL = ("w1", "w3", "w2")
NAMES: dict[str, tuple[str, str, str]] = {
    "mixtral": _MIXTRAL,
    "phimoe": _MIXTRAL,
    "minimax_m2": _MIXTRAL,
    "lfm2_moe": _MIXTRAL,
    **dict.fromkeys(("afmoe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe"), _LLAMA),
    **dict.fromkeys(("exaone_moe", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "jamba", "laguna", "mellum"), _LLAMA),
    **dict.fromkeys(("mimo_v2_flash", "olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next", "solar_open"), _LLAMA),
}
"""The names of an expert's matrices that mlx-lm joins: gate, up, down; by architecture."""


def apart(architecture: str, weights: dict[str, Any]) -> dict[str, Any]:
    """The weights, with joined experts as one tensor each."""
    if architecture == "gpt_oss":
        return _gpt_oss(weights)
    if architecture == "kimi_linear":  # dense layers too are saved under the name of those with experts
        return {_DENSE.sub(r".mlp.\1.", name): array for name, array in weights.items()}
    names = NAMES.get(architecture)
    if names is None:
        return weights
    separate: dict[str, Any] = {}
    for name, array in weights.items():
        base, _, last = name.rpartition(".")
        if base.endswith(".experts") and last == "gate_up_proj" and array.ndim == 3:
            for part, half in zip(names[:2], mx.split(array, 2, axis=1), strict=True):
                separate |= {f"{base}.{number}.{part}.weight": own for number, own in enumerate(half)}
        elif base.endswith(".experts") and last == "down_proj" and array.ndim == 3:
            separate |= {f"{base}.{number}.{names[2]}.weight": own for number, own in enumerate(array)}
        else:
            separate[name] = array
    return separate


def _gpt_oss(weights: dict[str, Any]) -> dict[str, Any]:
    """gpt-oss in plain floats: (experts, inputs, outputs), gate and up in turn. In mxfp4 mlx-lm knows the names."""
    renamed: dict[str, Any] = {}
    for name, array in weights.items():
        base, _, last = name.rpartition(".")
        part, bias = last.removesuffix("_bias"), last.endswith("_bias")
        if not base.endswith(".experts") or part not in ("gate_up_proj", "down_proj"):
            renamed[name] = array
            continue
        kind = "bias" if bias else "weight"
        if part == "down_proj":
            renamed[f"{base}.{part}.{kind}"] = array if bias else array.swapaxes(1, 2)
            continue
        for own, half in (("gate_proj", array[..., ::2]), ("up_proj", array[..., 1::2])):
            renamed[f"{base}.{own}.{kind}"] = mx.contiguous(half if bias else half.swapaxes(1, 2))
    return renamed
