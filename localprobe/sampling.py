"""Sampling in one order everywhere, and the counter-based uniforms that drive it.

Order: temperature, top-k, top-p, min-p, then the inverse CDF of one uniform over the tokens left, by id. Every cut
works on probabilities renormalised over what the cuts before it left. The numpy code here is the reference; engines
that sample on a device follow it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray, IntArray, Sampler


def uniforms(key: str, start: int, count: int) -> NDArray[np.float64]:
    """Numbers `start .. start + count` of the stream that `key` names, in [0, 1), float64.

    Philox is counter-based: number i depends on the key and i alone, so neither batch, order nor restart matters.
    """
    digest = hashlib.sha256(key.encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    skipped = start % 4  # Philox makes four numbers a counter
    bits.advance(start // 4)
    return np.random.Generator(bits).random(count + skipped)[skipped:]


def log_softmax(logits: FloatArray) -> FloatArray:
    """Log-probabilities of logits along the last axis, float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


def sample(
    logits: FloatArray, samplers: Sequence[Sampler], uniform: NDArray[np.float64]
) -> tuple[IntArray, FloatArray]:
    """Draw one token a row from `logits` (rows, vocabulary).

    Returns ids (rows,) int32 and their log-probabilities (rows,) float32 at temperature 1 with nothing cut.
    """
    rows = range(len(samplers))
    ids = np.array([_draw(logits[r], samplers[r], float(uniform[r])) for r in rows], dtype=np.int32)
    peak = logits.max(axis=-1)
    norm = np.log(np.exp(logits - peak[:, None]).sum(axis=-1))
    return ids, np.asarray(logits[rows, ids] - peak - norm, dtype=np.float32)


def _draw(logits: FloatArray, sampler: Sampler, uniform: float) -> int:
    if sampler.temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / np.float32(sampler.temperature))
    if sampler.top_k or sampler.top_p < 1 or sampler.min_p > 0:
        weights = np.where(_kept(weights, sampler), weights, np.float32(0))
    cumulative = np.cumsum(weights, dtype=np.float64)
    point = min(uniform * cumulative[-1], np.nextafter(cumulative[-1], 0))  # rounding may reach the very end
    return int(np.searchsorted(cumulative, point, side="right"))


def _kept(weights: FloatArray, sampler: Sampler) -> NDArray[np.bool_]:
    """Which tokens the cuts leave. `weights` (vocabulary,) are unnormalised, the largest is 1; ties go to lower ids."""
    order = np.argsort(-weights, kind="stable")
    if sampler.top_k:
        order = order[: sampler.top_k]
    if sampler.top_p < 1:
        cumulative = np.cumsum(weights[order], dtype=np.float64)
        reached = int(np.searchsorted(cumulative, sampler.top_p * cumulative[-1], side="left"))
        order = order[: reached + 1]
    if sampler.min_p > 0:
        order = order[weights[order] >= sampler.min_p * weights[order[0]]]
    kept = np.zeros(len(weights), dtype=bool)
    kept[order] = True
    return kept
