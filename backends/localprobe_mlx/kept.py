"""What a model of mlx-lm keeps from one decode step to the next, beside keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def why_not_decoded(model: Any, blocks: Sequence[Any]) -> str:
    """Why rows of this model cannot be cut and extended separately (`Capabilities.no_decoding`); empty if they can.

    They can if every layer keeps keys and values, all of them or those of a sliding window.
    """
    from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, RotatingKVCache

    if not hasattr(model, "make_cache"):
        return ""
    caches = model.make_cache()
    if len(caches) != len(blocks):
        return f"keeps {len(caches)} caches for {len(blocks)} blocks, and this engine cannot resume them row by row"
    recurrent: dict[str, None] = {}
    other: dict[str, None] = {}
    for block, cache in zip(blocks, caches, strict=True):
        for part in cache.caches if isinstance(cache, CacheList) else (cache,):
            if isinstance(part, ArraysCache):
                recurrent |= dict.fromkeys(_recurrent_parts(block))
            elif type(part) is not KVCache and not (type(part) is RotatingKVCache and part.keep == 0):
                other[type(part).__name__] = None
        if isinstance(cache, CacheList) and not recurrent:
            other[f"{len(cache.caches)} caches in one layer"] = None
    if recurrent:
        return f"keeps a recurrent state ({', '.join(recurrent)}) that this engine cannot resume row by row"
    if other:
        return f"keeps {' and '.join(other)}, which this engine cannot resume row by row"
    return ""


def _recurrent_parts(block: Any) -> list[str]:
    """Names of the parts of a block that hold a short convolution, as every recurrent layer does; else `state`."""
    parts = [name for name, part in block.children().items() if hasattr(part, "children") and _convolves(part)]
    return parts or ["state"]


def _convolves(part: Any) -> bool:
    return any("conv" in name for name in part)
