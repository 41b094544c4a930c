"""What a model keeps from one decode step to the next, beside keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_ORDINARY = frozenset({"keys", "values", "key_cache", "value_cache", "cumulative_length"})
_SUFFIXES = ("_states", "_state", "_cache", "_keys", "_values")
_OUTPUTS = ("cache", "past_key_values", "cache_params", "state", "mems")
"""Names under which decoders of transformers return what they keep."""

_RECURRENT = {"conv": "conv"} | dict.fromkeys(("linear_attention", "mamba", "hybrid", "recurrent"), "recurrent")
"""What is kept by the kinds of layers that configs name."""


@torch.inference_mode()
def kept_states(decoder: Any, ids: Tensor) -> tuple[str, ...]:
    """Names of the states that a decoder keeps after a pass over `ids` (1, n), keys and values left out.

    `conv`, `recurrent`, `indexer`, ...; empty if there is none.
    """
    try:
        output = decoder(input_ids=ids, use_cache=True)
    except Exception:  # whatever a model raises that does not run with a cache by itself
        output = None
    names: dict[str, None] = {}
    for word in _OUTPUTS:
        kept = getattr(output, word, None)
        if word in ("state", "mems") and kept is not None:
            names["recurrent"] = None
        names |= dict.fromkeys(_named(kept))
    return tuple(names) or _by_config(decoder.config)


def _by_config(config: Any) -> tuple[str, ...]:
    """What the kinds of layers in the config say: RecurrentGemma keeps its states in its modules, out of sight."""
    lists = (getattr(config, name, None) for name in ("layer_types", "layers_block_type", "block_types"))
    kinds = next((kinds for kinds in lists if kinds), ())
    return tuple(dict.fromkeys(_RECURRENT[kind] for kind in kinds if kind in _RECURRENT))


def _named(cache: Any) -> Iterator[str]:
    """Names of the tensors that a cache and its layers hold."""
    for holder in (cache, *(getattr(cache, "layers", None) or ())):
        for name, value in getattr(holder, "__dict__", {}).items():
            if not name.startswith("_") and name not in _ORDINARY and _holds_tensors(value):
                yield _plain(name)


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() > 1 and value.is_floating_point()
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(_holds_tensors(part) for part in parts)


def _plain(name: str) -> str:
    """`conv` for `conv_states`, `indexer` for `indexer_key_states`."""
    shorter = next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)
    return shorter if shorter == name else _plain(shorter.removesuffix("_key"))
