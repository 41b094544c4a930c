"""Token sampling, and the counter-based random numbers that drive it.

Order: temperature, top-k, top-p, min-p, then the inverse CDF of one uniform number over the remaining tokens in id
order. Each cut works on the probabilities that the cuts before it left, renormalised. The numpy code here is the
reference; engines that sample on a device follow it.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray, IntArray, Sampler, Top

_BLOCK = 256
_CHUNK = 64 * _BLOCK


class _Rooms(threading.local):
    def __init__(self) -> None:
        self.rooms: dict[tuple[int, int], FloatArray] = {}


_rooms = _Rooms()


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

    Returns ids (rows,) int32 and their log-probabilities (rows,) float32 at temperature 1, before any cut. A row whose
    logits are NaN or infinite, which steering too strongly can cause, gets the id 0 and NaN.
    """
    ids = np.empty(len(samplers), np.int32)
    logprobs = np.empty(len(samplers), np.float32)
    for row, sampler in enumerate(samplers):
        line = logits[row]
        top = line.max()
        if not math.isfinite(top):
            ids[row], logprobs[row] = 0, np.nan
            continue
        draw = _draw if sampler.temperature == 0 or _cuts(sampler, len(line)) else _draw_uncut
        token, norm = draw(line, top, sampler, float(uniform[row]))
        ids[row], logprobs[row] = token, line[token] - top - norm
    return ids, logprobs


def most_likely(logits: FloatArray, count: int) -> Top:
    """The `count` most likely tokens of each row of `logits` (rows, vocabulary), the most likely first, with their
    log-probabilities at temperature 1."""
    rows, size = logits.shape
    count = min(count, size)
    ids = np.empty((rows, count), np.int32)
    logprobs = np.empty((rows, count), np.float32)
    for row, line in enumerate(logits):
        found = np.argpartition(line, size - count)[size - count :] if count < size else np.arange(size)
        ids[row] = found[np.lexsort((found, -line[found]))]
        top = line[ids[row, 0]]
        logprobs[row] = line[ids[row]] - top - np.log(np.exp(line - top).sum(dtype=np.float64))
    return Top(ids, logprobs)


def _room(rows: int, size: int) -> FloatArray:
    """Buffer (rows, size) of this thread. Allocating arrays as long as a vocabulary each time can take five times as
    long as the computation, because the C library may get fresh memory from the system."""
    if (rows, size) not in _rooms.rooms:
        _rooms.rooms[rows, size] = np.empty((rows, size), np.float32)
    return _rooms.rooms[rows, size]


def _cuts(sampler: Sampler, size: int) -> bool:
    """Whether a sampler leaves out any of `size` tokens."""
    return 0 < sampler.top_k < size or sampler.top_p < 1 or sampler.min_p > 0


def _draw_uncut(logits: FloatArray, top: np.float32, sampler: Sampler, uniform: float) -> tuple[int, float]:
    """One token of logits (vocabulary,) with maximum `top`, and log(sum(exp(logits - top))).

    A decode step leaves the processor's caches full of model weights, so arrays as long as the vocabulary are slow to
    write and to read back: they are computed here in chunks that stay in the caches.
    """
    shifted_room, shares_room = _room(2, _CHUNK)
    temperature = np.float32(sampler.temperature)
    norm, sums = 0.0, np.empty(-(-len(logits) // _BLOCK))  # of each block of weights
    for start in range(0, len(logits), _CHUNK):
        chunk = logits[start : start + _CHUNK]
        shifted, shares = shifted_room[: len(chunk)], shares_room[: len(chunk)]
        np.subtract(chunk, top, out=shifted)
        np.exp(shifted, out=shares)
        norm += float(shares.sum())
        if sampler.temperature != 1:
            np.divide(shifted, temperature, out=shares)
            np.exp(shares, out=shares)
        whole, first = len(chunk) // _BLOCK, start // _BLOCK
        shares[: whole * _BLOCK].reshape(whole, _BLOCK).sum(axis=1, out=sums[first : first + whole])
        if len(chunk) % _BLOCK:
            sums[-1] = shares[whole * _BLOCK :].sum()

    def weights(block: int) -> FloatArray:
        return np.exp((logits[block * _BLOCK : (block + 1) * _BLOCK] - top) / temperature)  # type: ignore[no-any-return]

    return _pick(sums, weights, uniform), math.log(norm)


def _draw(logits: FloatArray, top: np.float32, sampler: Sampler, uniform: float) -> tuple[int, float]:
    """As `_draw_uncut`, for any sampler."""
    shifted, shares, weights = _room(3, len(logits))
    np.exp(np.subtract(logits, top, out=shifted), out=shares)
    norm = math.log(float(shares.sum()))
    if sampler.temperature == 0:
        return int(shifted.argmax()), norm
    if sampler.temperature == 1:
        weights = shares
    else:
        np.exp(np.divide(shifted, np.float32(sampler.temperature), out=weights), out=weights)
    ids = _remaining(weights, sampler)
    kept = weights[ids]
    sums = np.add.reduceat(kept, np.arange(0, len(kept), _BLOCK), dtype=np.float64)
    return int(ids[_pick(sums, lambda block: kept[block * _BLOCK : (block + 1) * _BLOCK], uniform)]), norm


def _pick(sums: NDArray[np.float64], weights: Callable[[int], FloatArray], uniform: float) -> int:
    """Inverse CDF: the index at which the cumulative weights, normalised, pass `uniform`.

    `sums` (blocks,) are the sums of blocks of _BLOCK weights; `weights` returns the weights of one block. Summing
    blocks first, then within one block, takes a twentieth of the time of a full cumulative sum.
    """
    ends = sums.cumsum()
    point = min(uniform * ends[-1], math.nextafter(ends[-1], 0))  # rounding may reach the very end
    block = int(ends.searchsorted(point, side="right"))
    inside = weights(block)
    begin = ends[block - 1] if block else 0.0
    index = int((begin + inside.cumsum(dtype=np.float64)).searchsorted(point, side="right"))
    if index == len(inside):  # the two sums differ in their last bits
        index = int(inside.nonzero()[0][-1])
    return block * _BLOCK + index


def _remaining(weights: FloatArray, sampler: Sampler) -> NDArray[np.intp]:
    """Ids that remain after the cuts, ascending. `weights` (vocabulary,) are unnormalised with maximum 1; ties go to
    lower ids."""
    ids: NDArray[np.intp] | None = None
    if 0 < sampler.top_k < len(weights):
        ids = _largest(weights, sampler.top_k)
    if sampler.top_p < 1:
        ids = _nucleus(weights, ids, sampler.top_p)
    if sampler.min_p > 0:
        ids = np.flatnonzero(weights >= sampler.min_p) if ids is None else ids[weights[ids] >= sampler.min_p]
    return np.arange(len(weights)) if ids is None else ids


def _largest(weights: FloatArray, count: int) -> NDArray[np.intp]:
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
