"""Numbers of a model's config.json that fix its sizes: checked before a library builds what they say.

`1e999` layers overflow an integer, `-1` give a model without blocks, `10**9` a loop that does not end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile
from localprobe.suggest import shown

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
WIDTHS = ("hidden_size", "n_embd", "d_model")
_SIZES = ("num_attention_heads", "n_head", "num_key_value_heads", "head_dim", "intermediate_size")
_LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length", "sliding_window")
_FINITE = ("rope_theta", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "initializer_range")
_SINGLE = (*LAYERS, *WIDTHS, "vocab_size")
"""Numbers of the whole model, where a list makes no sense."""
_DEEPEST = 1 << 12  # real models have up to 200 layers
_LARGEST = 1 << 24  # far above the sizes of real models
_LONGEST = 1 << 40  # some configs state a context of 10**9 and more


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of the language model inside a multimodal model, or the config itself."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Raise CorruptFile if a number that fixes a size is out of range.

    `path` is for the message. A missing number or None is left to the engine, and so is a list of one number per layer.
    """
    for part in (config, text_config(config)):
        for name in LAYERS:
            _check(path, name, part.get(name), 1, _DEEPEST, whole=True)
        for name in (*WIDTHS, "vocab_size"):
            _check(path, name, part.get(name), 1, _LARGEST, whole=True)
        for name in _SIZES:
            _check(path, name, part.get(name), 0, _LARGEST, whole=True)  # a model without attention may say 0
        for name in _LENGTHS:
            _check(path, name, part.get(name), -_LONGEST, _LONGEST)  # -1 stands for no limit
        for name in _FINITE:
            _check(path, name, part.get(name), -math.inf, math.inf)


def _check(path: Path, name: str, value: object, least: float, most: float, *, whole: bool = False) -> None:
    if value is None or (isinstance(value, list | bool) and name not in _SINGLE):
        return
    number = isinstance(value, int | float) and math.isfinite(value) and (not whole or value == int(value))
    if not number or not least <= value < most:  # type: ignore[operator]  # a number by now
        raise CorruptFile(f"{path}: {name} is {shown(value)}, which cannot be: fetch the model again")
