"""Token sampling, and the counter-based random numbers that drive it.

Order: temperature, top-k, top-p, min-p, then the inverse CDF of one uniform number over the remaining tokens in id
order. Each cut works on the probabilities that the cuts before it left, renormalised. The numpy code here is the
reference; engines that sample on a device follow it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray, IntArray, Sampler
from localprobe.errors import EngineError

_BLOCK = 256
_rooms = threading.local()


def uniforms(key: str, start: int, count: int) -> NDArray[np.float64]:
    """Numbers `start .. start + count` of the stream that `key` names, in [0, 1), float64.

    Philox is counter-based: number i depends on the key and i alone, so neither batch, order nor restart matters.
    """
    digest = hashlib.sha256(key.encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    skipped = start % 4  # Philox gives four numbers per counter value
    bits.advance(start // 4)
    return np.random.Generator(bits).random(count + skipped)[skipped:]


def log_softmax(logits: FloatArray) -> FloatArray:
    """Log-probabilities of logits along the last axis, float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


def sample(
    logits: FloatArray, samplers: Sequence[Sampler], uniform: NDArray[np.float64]
) -> tuple[IntArray, FloatArray]:
    """Draw one token per row from `logits` (rows, vocabulary).

    Returns ids (rows,) int32 and their log-probabilities (rows,) float32 at temperature 1, before any cut. Raises
    EngineError if logits are NaN or infinite, which steering too strongly can cause.
    """
    ids = np.empty(len(samplers), np.int32)
    logprobs = np.empty(len(samplers), np.float32)
    shifted, shares, weights = _room(logits.shape[1])
    for row, sampler in enumerate(samplers):
        with np.errstate(invalid="ignore"):  # infinity minus infinity is caught below
            np.subtract(logits[row], logits[row].max(), out=shifted)
        np.exp(shifted, out=shares)
        norm = np.log(shares.sum())
        if not np.isfinite(norm):
            raise EngineError(f"the logits of row {row} are not finite: steer less")
        ids[row] = _draw(shifted, shares, weights, sampler, float(uniform[row]))
        logprobs[row] = shifted[ids[row]] - norm
    return ids, logprobs


def _room(size: int) -> FloatArray:
    """Buffer (3, vocabulary) of this thread. Allocating arrays of this size each time can take five times as long as
    the computation, because the C library may get fresh memory from the system."""
    room: FloatArray | None = getattr(_rooms, "room", None)
    if room is None or room.shape[1] != size:
        room = _rooms.room = np.empty((3, size), np.float32)
    return room


def _draw(shifted: FloatArray, shares: FloatArray, weights: FloatArray, sampler: Sampler, uniform: float) -> int:
    """One token of logits (vocabulary,) whose largest is 0; `shares` are their exponentials, `weights` is a buffer."""
    if sampler.temperature == 0:
        return int(shifted.argmax())
    if sampler.temperature == 1:
        weights = shares
    else:
        np.exp(np.divide(shifted, np.float32(sampler.temperature), out=weights), out=weights)
    ids = _remaining(weights, sampler)
    return _pick(weights, uniform) if ids is None else int(ids[_pick(weights[ids], uniform)])


def _pick(weights: FloatArray, uniform: float) -> int:
    """Inverse CDF: the index at which the cumulative weights (n,), normalised, pass `uniform`."""
    # Summing blocks first, then within one block, takes a twentieth of the time of a full cumulative sum.
    ends = np.cumsum(np.add.reduceat(weights, np.arange(0, len(weights), _BLOCK), dtype=np.float64))
    point = min(uniform * ends[-1], np.nextafter(ends[-1], 0))  # rounding may reach the very end
    block = int(np.searchsorted(ends, point, side="right"))
    inside = weights[block * _BLOCK : (block + 1) * _BLOCK]
    begin = ends[block - 1] if block else 0.0
    index = int(np.searchsorted(begin + np.cumsum(inside, dtype=np.float64), point, side="right"))
    if index == len(inside):  # the two sums differ in their last bit
        index = int(np.flatnonzero(inside)[-1])
    return block * _BLOCK + index


def _remaining(weights: FloatArray, sampler: Sampler) -> NDArray[np.intp] | None:
    """Ids that remain after the cuts, ascending; None if all do. `weights` (vocabulary,) are unnormalised with
    maximum 1; ties go to lower ids."""
    ids: NDArray[np.intp] | None = None
    if 0 < sampler.top_k < len(weights):
        ids = _largest(weights, sampler.top_k)
    if sampler.top_p < 1:
        ids = _nucleus(weights, ids, sampler.top_p)
    if sampler.min_p > 0:
        ids = np.flatnonzero(weights >= sampler.min_p) if ids is None else ids[weights[ids] >= sampler.min_p]
    return ids


def _largest(weights: FloatArray, count: int) -> NDArray[np.intp]:
    """Ids of the `count` largest weights."""
    least = np.partition(weights, -count)[-count]
    above, equal = np.flatnonzero(weights > least), np.flatnonzero(weights == least)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def _nucleus(weights: FloatArray, among: NDArray[np.intp] | None, share: float) -> NDArray[np.intp]:
    """The smallest set of ids (of `among`, or of all) whose weights sum to `share` of the total."""
    total = (weights if among is None else weights[among]).sum(dtype=np.float64)
    ids = np.arange(len(weights)) if among is None else among
    for least in (1e-3, 1e-5):  # sorting is slow, and the largest few may suffice
        large = ids[weights[ids] >= least]
        if weights[large].sum(dtype=np.float64) > share * total:
            ids = large
            break
    order = ids[np.argsort(-weights[ids], kind="stable")]
    reached = int(np.searchsorted(np.cumsum(weights[order], dtype=np.float64), share * total, side="left"))
    return np.sort(order[: reached + 1])
