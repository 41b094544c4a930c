"""`localprobe.sampling.sample` on the device, for a batch: same order, same cuts, same inverse CDF.

The CDF is summed in blocks, because a plain float32 sum over a vocabulary would drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from localprobe.engine import Sampler

_BLOCK = 256
_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


class BatchSampler:
    """One sampler per row, with their options as columns on the device."""

    def __init__(self, samplers: Sequence[Sampler], tops: Sequence[int] = ()) -> None:
        """`tops` are the numbers of most likely tokens that rows ask for; empty if none does."""
        self._samplers = list(samplers)
        self._tops = list(tops) or [0] * len(samplers)
        self._greedy = [s.temperature == 0 for s in samplers]
        self._cut = any(s.top_k or s.top_p < 1 or s.min_p > 0 for s in samplers if s.temperature)
        self._sorted = any(s.top_k or s.top_p < 1 for s in samplers if s.temperature)
        self._temperature = _column([s.temperature or 1.0 for s in samplers], mx.float32)  # greedy rows do not use it
        self._top_p = _column([s.top_p for s in samplers], mx.float32)
        self._min_p = _column([s.min_p for s in samplers], mx.float32)
        self._top_k = [s.top_k for s in samplers]

    def take(self, rows: Sequence[int]) -> BatchSampler:
        """The samplers of some rows."""
        return BatchSampler([self._samplers[row] for row in rows], [self._tops[row] for row in rows])

    def joined(self, samplers: Sequence[Sampler], tops: Sequence[int]) -> BatchSampler:
        """With samplers for more rows."""
        return BatchSampler([*self._samplers, *samplers], [*self._tops, *tops])

    def listed(self, logits: mx.array) -> tuple[mx.array, mx.array] | None:
        """The most likely tokens of each row of `logits` (rows, vocabulary), the most likely first: ids (rows, k) int32
        and log-probabilities (rows, k) float32, k the most that a row asks for. None if none does."""
        most = min(max(self._tops, default=0), logits.shape[-1])
        if not most:
            return None
        ids = mx.argpartition(-logits, most - 1, axis=-1)[:, :most]
        likely = mx.take_along_axis(logits, ids, axis=-1)
        order = mx.argsort(-likely, axis=-1)
        ids, likely = mx.take_along_axis(ids, order, axis=-1), mx.take_along_axis(likely, order, axis=-1)
        return ids.astype(mx.int32), likely - mx.logsumexp(logits, axis=-1, keepdims=True)

    def __call__(self, logits: mx.array, uniforms: Any) -> tuple[mx.array, mx.array]:
        """Draw from logits (rows, vocabulary) float32 by uniforms (rows,) float64 in [0, 1), on the host.

        Returns ids (rows,) int32 and their log-probabilities (rows,) float32 at temperature 1, before any cut.
        """
        if all(self._greedy):
            ids = mx.argmax(logits, axis=-1).astype(mx.int32)
        else:
            ids = self._draw(logits, mx.array(np.asarray(uniforms, np.float32)[:, None]))
            if any(self._greedy):
                ids = mx.where(mx.array(self._greedy), mx.argmax(logits, axis=-1).astype(mx.int32), ids)
        picked = mx.take_along_axis(logits, ids[:, None], axis=-1)[:, 0]
        return ids, picked - mx.logsumexp(logits, axis=-1)

    def _draw(self, logits: mx.array, uniforms: mx.array) -> mx.array:
        peak = logits.max(axis=-1, keepdims=True)
        weights = mx.exp((logits - peak) / self._temperature)  # (rows, vocabulary), the largest is 1
        if self._cut:
            weights = mx.where(self._remaining(weights), weights, 0.0)
        return _inverse_cdf(weights, uniforms)

    def _remaining(self, weights: mx.array) -> mx.array:
        """Tokens that remain after the cuts, ties to lower ids, (rows, vocabulary) bool."""
        likely = weights >= self._min_p
        if not self._sorted:
            return likely
        vocabulary = weights.shape[-1]
        limits = [k or vocabulary for k in self._top_k]
        count = min(max(limits), vocabulary)
        top = -mx.sort(-(mx.topk(weights, count, axis=-1) if count < vocabulary else weights), axis=-1)  # (rows, count)
        limit = mx.array(np.minimum(limits, count)[:, None].astype(np.int32))  # (rows, 1)
        cumulative = mx.cumsum(mx.where(mx.arange(count) < limit, top, 0.0), axis=-1)
        reached = (cumulative < self._top_p * cumulative[:, -1:]).sum(axis=-1, keepdims=True) + 1
        left = mx.where(self._top_p < 1, mx.minimum(reached, limit), limit)  # (rows, 1): how many stay
        least = mx.take_along_axis(top, left - 1, axis=-1)
        above, level = weights > least, weights == least
        spare = left - above.sum(axis=-1, keepdims=True)  # how many of those equal to the least one stay
        return likely & (above | (level & (mx.cumsum(level.astype(mx.int32), axis=-1) <= spare)))


def _inverse_cdf(weights: mx.array, uniforms: mx.array) -> mx.array:
    """Index (rows,) int32 at which the running sum of weights (rows, n) passes `uniforms` (rows, 1) of its total."""
    rows, count = weights.shape
    blocks = mx.pad(weights, [(0, 0), (0, -count % _BLOCK)]).reshape(rows, -1, _BLOCK)
    totals = mx.cumsum(blocks.sum(axis=-1), axis=-1)  # (rows, blocks)
    point = mx.minimum(uniforms, _BELOW_ONE) * totals[:, -1:]
    point = mx.minimum(point, totals[:, -1:] * _BELOW_ONE)
    block = (totals <= point).sum(axis=-1, keepdims=True)  # (rows, 1)
    before = mx.where(block > 0, mx.take_along_axis(totals, mx.maximum(block - 1, 0), axis=-1), 0.0)
    inside = mx.cumsum(mx.take_along_axis(blocks, block[..., None], axis=1)[:, 0], axis=-1)  # (rows, _BLOCK)
    rest = mx.maximum(mx.minimum(point - before, inside[:, -1:] * _BELOW_ONE), 0.0)  # rounding may reach either end
    index = block[:, 0] * _BLOCK + (inside <= rest).sum(axis=-1)
    return mx.minimum(index, count - 1).astype(mx.int32)


def _column(values: Sequence[float], dtype: Any) -> mx.array:
    return mx.array(list(values), dtype)[:, None]
