"""A check at load, for architectures that are not tested here, that batches and our cache give the same results as a
single text. A model that only passes without a cache can be captured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from localprobe.engine import IntArray
from localprobe.errors import UnsupportedModel, first_line
from localprobe_torch.kept import kept_states
from localprobe_torch.kv import ColumnCache, Frame
from localprobe_torch.memory import is_out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.rows import pad
from localprobe_torch.taps import Plan

_SHORT, _LONG = 9, 1024
"""Bounds on the length of the longer row: both rows should exceed every attention window in the config."""
_FEWEST = 7
"""Tokens of the shorter row: a prefill of two, and five more."""


@torch.inference_mode()
def prove(network: Network, model: Any, ids: IntArray) -> str:
    """Compare two rows of unequal length with the model's own forward pass, each row alone.

    Returns why it cannot be decoded (`Capabilities.no_decoding`): there is a state other than keys and values, or
    explicit positions are not accepted. Empty if it can.

    Raises UnsupportedModel, with the reason, if the blocks do not carry one residual stream or if attention is not
    causal.
    """
    kind = model.config.model_type
    length = _length(network, model)
    rows = [np.resize(ids, length), np.resize(ids[::-1], max(length - 3, _FEWEST))]
    own = _attempt(kind, "on a text alone", partial(_alone, network, model, rows))
    _attempt(kind, "with hooks on its blocks", partial(_watch_blocks, network, rows))
    tolerance = 1e-3 if network.dtype == torch.float32 else 5e-2

    def compare(what: str, compute: Callable[[], list[Tensor]]) -> None:
        results = _attempt(kind, what, compute)
        if any(not _distance(*pair) <= tolerance for pair in zip(own, results, strict=True)):
            raise UnsupportedModel(f"architecture {kind!r} computes something else {what} than for one text alone")

    compare("in a batch", partial(_in_a_batch, network, rows))
    try:
        compare("with a KV cache", partial(_with_a_cache, network, rows))
    except UnsupportedModel as error:
        return _undecodable(network, rows[1], str(error))
    return ""


def _undecodable(network: Network, row: IntArray, error: str) -> str:
    """Why a model that runs without a cache does not run with ours, which failed with `error`."""
    states = kept_states(network.head.decoder, pad([row], network.device))
    if {"conv", "recurrent", "ssm", "linear"} & set(states):
        return f"keeps a recurrent state ({', '.join(states)}) that this engine cannot resume row by row"
    if states:
        return f"keeps {' and '.join(states)} beside keys and values, which this engine cannot resume row by row"
    return f"cannot be resumed row by row by this engine (its {error})"


def _attempt(kind: str, what: str, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
    try:
        return compute()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UnsupportedModel(f"architecture {kind!r} does not run {what}: {first_line(error)}") from None


def _alone(network: Network, model: Any, rows: list[IntArray]) -> list[Tensor]:
    """What the model's own forward pass gives for each row."""
    return [model(input_ids=pad([row], network.device), use_cache=False).logits[0].float() for row in rows]


def _watch_blocks(network: Network, rows: list[IntArray]) -> list[Tensor]:
    """Check that each block runs once, in order, and gives one vector per position."""
    order: list[int] = []

    def read(layer: int, hidden: Tensor) -> None:
        order.append(layer)
        expected = (len(rows), len(rows[0]), network.width)
        if tuple(hidden.shape) != expected:
            raise ValueError(f"block {layer} gives {tuple(hidden.shape)}, not {expected}")

    ids = pad(rows, network.device)
    network.forward(ids, Plan(reads={layer: partial(read, layer) for layer in range(network.layers)}))
    if order != list(range(network.layers)):
        raise ValueError(f"blocks run in the order {order}")
    return []


def _in_a_batch(network: Network, rows: list[IntArray]) -> list[Tensor]:
    states = network.forward(pad(rows, network.device), Plan())
    assert states is not None
    return [network.head(states[index, : len(row)]) for index, row in enumerate(rows)]


def _with_a_cache(network: Network, rows: list[IntArray]) -> list[Tensor]:
    """Prefill of unequal rows, then one token at a time, then several at once, as a reused cache takes them."""
    cache = ColumnCache(network.layers)
    parts: list[list[Tensor]] = [[] for _ in rows]
    lengths = [0, 0]
    for counts in ([len(row) - 5 for row in rows], (1, 1), (1, 1), (3, 3)):
        fresh = [row[start : start + count] for row, start, count in zip(rows, lengths, counts, strict=True)]
        frame = Frame(lengths, max(counts), len(rows[0]) + 1, network.device)
        states = network.extend(pad(fresh, network.device), frame, cache, Plan())
        for index, count in enumerate(counts):
            parts[index].append(network.head(states[index, :count]))
            lengths[index] += count
    return [torch.cat(part) for part in parts]


def _length(network: Network, model: Any) -> int:
    """Length of the longer row: beyond a window of attention, if that is small."""
    config = model.config.get_text_config(decoder=True).to_dict()
    windows = [value for name, value in config.items() if "window" in name or "chunk" in name]
    past = [window + 5 for window in windows if isinstance(window, int) and _SHORT <= window + 5 <= _LONG]
    return min(max(past, default=_SHORT), network.context)


def _distance(expected: Tensor, actual: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())
