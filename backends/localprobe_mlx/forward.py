"""One pass over a batch of rows, with no cache: residuals, pooled on the device, and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from localprobe.engine import FloatArray, IntArray, Output, Row
from localprobe_mlx.network import Network
from localprobe_mlx.steering import Steerings

_LOGITS = 1 << 26
"""Maximum number of logits in memory: 256 MB in float32."""


class Logprobs(NamedTuple):
    """Of one row: `targets` (k,) and `full` (positions, vocabulary), float32."""

    targets: FloatArray
    full: FloatArray


def forward(network: Network, rows: Sequence[Row], layers: Sequence[int]) -> list[Output]:
    """See `localprobe.engine.Engine.forward`. Rows are padded on the right, which causal attention never reads;
    all are on one side of `rope_length`."""
    scored = any(row.full or _targets(row).size for row in rows)
    deepest = network.layers - 1 if scored else max(layers, default=-1)
    if deepest < 0:  # nothing is wanted
        climbed = {}
    else:
        ids = pad([row.ids for row in rows])  # (rows, length)
        steerings = Steerings([row.steering for row in rows])
        climbed = network.climb(
            ids,
            [0] * len(rows),
            network.no_caches(),
            deepest=deepest,
            wanted=layers,
            steerings=steerings,
            long=network.is_long(len(rows[0].ids)),
        )
    residuals = _residuals(rows, [climbed[layer] for layer in layers], network.width)
    if scored:
        logprobs = _logprobs(network, rows, climbed[deepest])
    else:
        logprobs = [Logprobs(np.zeros(0, np.float32), np.zeros((0, network.vocabulary), np.float32)) for _ in rows]
    return [Output(of_row, *own) for of_row, own in zip(residuals, logprobs, strict=True)]


def pad(rows: Sequence[IntArray]) -> mx.array:
    """Rows of ids, padded on the right with 0: (rows, longest) int32."""
    padded = np.zeros((len(rows), max(len(row) for row in rows)), np.int32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return mx.array(padded)


def _residuals(rows: Sequence[Row], layers: Sequence[mx.array], width: int) -> list[FloatArray]:
    """For each row, (layers, spans or positions, width) float32, from residuals (rows, length, width) per layer."""
    whole = [number for number, row in enumerate(rows) if row.spans is None]
    wide = [layer.astype(mx.float32) for layer in layers]
    pooled = _pool(rows, wide)
    complete = [layer[mx.array(whole)] for layer in wide] if whole else []  # (rows in whole, length, width)
    mx.eval(pooled, complete)
    pools, positions = [np.array(layer) for layer in pooled], [np.array(layer) for layer in complete]
    outputs = []
    for number, row in enumerate(rows):
        if row.spans is None:
            own = [layer[whole.index(number), : len(row.ids)] for layer in positions]
        else:
            own = [layer[number, : len(row.spans)] for layer in pools]
        count = len(row.ids if row.spans is None else row.spans)
        outputs.append(np.stack(own) if own else np.zeros((0, count, width), np.float32))
    return outputs


def _pool(rows: Sequence[Row], layers: Sequence[mx.array]) -> list[mx.array]:
    """Means over spans, (rows, most spans, width) per layer. Masked sums, because products may be rounded (TF32)."""
    spans = [row.spans or () for row in rows]
    most = max(len(own) for own in spans)
    if not layers or not most:
        return [layer[:, :0] for layer in layers]
    cover = np.zeros((most, *layers[0].shape[:2], 1), np.bool_)  # (spans, rows, length, 1)
    for row, own in enumerate(spans):
        for number, (start, stop) in enumerate(own):
            cover[number, row, start:stop] = True
    covers = [mx.array(part) for part in cover]
    counts = [mx.array(np.maximum(part.sum(axis=1), 1).astype(np.float32)) for part in cover]  # (rows, 1)
    return [
        mx.stack([mx.where(c, layer, 0.0).sum(axis=1) / n for c, n in zip(covers, counts, strict=True)], axis=1)
        for layer in layers
    ]


def _logprobs(network: Network, rows: Sequence[Row], hidden: mx.array) -> list[Logprobs]:
    """The log-probabilities for each row's `targets` and `full`, from residuals (rows, length, width) after the last
    block.

    The head runs only on the requested positions, in parts.
    """
    length = hidden.shape[1]
    targets = [np.stack([_targets(row)[:, 0] + r * length, _targets(row)[:, 1]], axis=1) for r, row in enumerate(rows)]
    full = [np.array(row.full, np.int64) + r * length for r, row in enumerate(rows)]
    wanted, ids = np.concatenate(targets).T  # (k,) places in the flattened batch, and ids
    complete = np.concatenate(full)  # (n,) places
    places = np.unique(np.concatenate([wanted, complete]))
    logprobs = np.empty(len(wanted), np.float32)
    rest = np.empty((len(complete), network.vocabulary), np.float32)
    flat = hidden.reshape(-1, hidden.shape[-1])  # (rows * length, width)
    step = max(_LOGITS // network.vocabulary, 1)
    for low in range(0, len(places), step):
        part = places[low : low + step]
        logits = network.logits(flat[mx.array(part.astype(np.int32))])  # (part, vocabulary)
        logits = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        for places_asked, out, columns in ((wanted, logprobs, ids), (complete, rest, None)):
            here = np.isin(places_asked, part)
            if here.any():
                index = mx.array(np.searchsorted(part, places_asked[here]))
                out[here] = np.array(logits[index] if columns is None else logits[index, mx.array(columns[here])])
    splits = np.cumsum([len(own) for own in targets])[:-1], np.cumsum([len(own) for own in full])[:-1]
    return [Logprobs(*own) for own in zip(np.split(logprobs, splits[0]), np.split(rest, splits[1]), strict=True)]


def _targets(row: Row) -> IntArray:
    return np.zeros((0, 2), np.int32) if row.targets is None else row.targets
