"""One pass over a batch of rows, with no cache: residuals, pooled on the device, and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from localprobe.engine import FloatArray, Output, Row
from localprobe_mlx.network import Network
from localprobe_mlx.steering import Steerings

_LOGITS = 1 << 26
"""Most logits held at once: 256 MB in float32."""


def forward(network: Network, rows: Sequence[Row], layers: Sequence[int]) -> list[Output]:
    """See `localprobe.engine.Engine.forward`. Rows are padded on the right, where causal attention never looks."""
    logits = any(row.full or (row.targets is not None and len(row.targets)) for row in rows)
    deepest = network.layers - 1 if logits else max(layers, default=-1)
    if deepest < 0:
        return [_output(row, _no_residuals(row, network.width), _NO_LOGPROBS, network.vocabulary) for row in rows]
    ids = pad([row.ids for row in rows])  # (rows, length)
    steerings = Steerings([row.steering for row in rows])
    climbed = network.climb(ids, [0] * len(rows), network.no_caches(), deepest, layers, steerings)
    residuals = _residuals(rows, [climbed[layer] for layer in layers], network.width)
    logprobs = _logprobs(network, rows, climbed[deepest]) if logits else [_NO_LOGPROBS] * len(rows)
    return [
        _output(row, of_row, own, network.vocabulary)
        for row, of_row, own in zip(rows, residuals, logprobs, strict=True)
    ]


def pad(rows: Sequence[np.ndarray]) -> mx.array:
    """Rows of ids, padded on the right with 0, (rows, longest) int32."""
    padded = np.zeros((len(rows), max(len(row) for row in rows)), np.int32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return mx.array(padded)
