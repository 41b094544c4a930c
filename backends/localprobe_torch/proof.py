"""A proof, at load, that a model of an architecture not tested here computes the same in batches and with our cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from localprobe.engine import IntArray
from localprobe.errors import UnsupportedModel
from localprobe_torch.kv import ColumnCache, Frame
from localprobe_torch.memory import is_out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.quiet import first_line
from localprobe_torch.rows import pad
from localprobe_torch.taps import Plan


def prove(network: Network, model: Any, ids: IntArray) -> None:
    """Compare the logits of two rows with those of the model's own forward pass, each row alone.

    Raises UnsupportedModel if they differ: the model is not causal, keeps a state other than keys and values, or does
    not take explicit positions.
    """
    rows = [np.resize(ids, 9), np.resize(ids[::-1], 5)]
    own = [model(input_ids=pad([row], network.device), use_cache=False).logits[0].float() for row in rows]
    kind = model.config.model_type
    for what, logits in (("in a batch", _in_a_batch), ("with a KV cache", _with_a_cache)):
        try:
            found = logits(network, rows)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise UnsupportedModel(f"architecture {kind!r} does not run {what} here: {first_line(error)}") from None
        tolerance = 1e-3 if network.dtype == torch.float32 else 5e-2
        for expected, given in zip(own, found, strict=True):
            if not _distance(expected, given) <= tolerance:
                raise UnsupportedModel(f"architecture {kind!r} computes something else {what} than for one text alone")


def _in_a_batch(network: Network, rows: list[IntArray]) -> list[Tensor]:
    states = network.forward(pad(rows, network.device), Plan())
    assert states is not None
    return [network.head(states[index, : len(row)]) for index, row in enumerate(rows)]


def _with_a_cache(network: Network, rows: list[IntArray]) -> list[Tensor]:
    """Prefill of unequal rows, then one token at a time, then several at once, as a reused cache takes them."""
    cache = ColumnCache(network.layers)
    parts: list[list[Tensor]] = [[] for _ in rows]
    done = [0 for _ in rows]
    for counts in ((4, 2), (1, 1), (4, 2)):
        fresh = [row[start : start + count] for row, start, count in zip(rows, done, counts, strict=True)]
        ids = pad(fresh, network.device)
        states = network.extend(ids, Frame(done, ids.shape[1], 16, network.device), cache, Plan())
        for index, count in enumerate(counts):
            parts[index].append(network.head(states[index, :count]))
            done[index] += count
    return [torch.cat(part) for part in parts]


def _distance(expected: Tensor, given: Tensor) -> float:
    return float((given - expected).norm() / expected.norm())
