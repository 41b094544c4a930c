"""`localprobe.sampling.sample` for a whole batch on the device, without loops over rows or transfers to the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localprobe.engine import Sampler


class BatchSampler:
    """Draws a token for each row of a batch by the row's own sampler."""

    def __init__(self, samplers: Sequence[Sampler], device: torch.device, tops: Sequence[int] = ()) -> None:
        """`tops` are the numbers of most likely tokens that rows ask for; empty if none does."""
        self.samplers = list(samplers)
        self.tops = list(tops) or [0] * len(samplers)
        self._device = device
        # Metal has no float64
        self._wide = torch.float32 if device.type == "mps" else torch.float64
        temperatures = np.array([s.temperature for s in samplers], dtype=np.float32)
        self._cold = bool((temperatures == 0).all())
        self._greedy = self._column(temperatures == 0) if (temperatures == 0).any() else None
        self._temperature = self._column(np.where(temperatures == 0, np.float32(1), temperatures))
        self._cuts = _Cuts(samplers, self._wide, device) if any(map(_cuts, samplers)) else None

    def take(self, rows: Sequence[int]) -> BatchSampler:
        """The samplers of some rows, in the given order."""
        return BatchSampler([self.samplers[row] for row in rows], self._device, [self.tops[row] for row in rows])

    def listed(self, logits: Tensor) -> tuple[Tensor, Tensor] | None:
        """The most likely tokens of each row of `logits` (rows, vocabulary), the most likely first: ids (rows, k) int64
        and log-probabilities (rows, k) float32, k the most that a row asks for. None if none does."""
        most = min(max(self.tops, default=0), logits.shape[-1])
        if not most:
            return None
        found = torch.log_softmax(logits, -1).topk(most, -1)
        return found.indices, found.values

    def draw(self, logits: Tensor, uniforms: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """One token per row from `logits` (rows, vocabulary) float32 and `uniforms` (rows,) in [0, 1).

        Returns ids (rows,) int64 and log-probabilities (rows,) float32 at temperature 1, before any cut.
        """
        shifted = logits - logits.amax(-1, keepdim=True)  # (rows, vocabulary)
        if self._cold:
            ids = logits.argmax(-1, keepdim=True)  # (rows, 1)
        else:
            ids = self._draw(shifted, uniforms)
            if self._greedy is not None:
                ids = torch.where(self._greedy, logits.argmax(-1, keepdim=True), ids)
        logprobs = torch.log_softmax(shifted, -1).gather(-1, ids)
        return ids[:, 0], logprobs[:, 0]

    def _draw(self, shifted: Tensor, uniforms: NDArray[np.float64]) -> Tensor:
        weights = torch.exp(shifted / self._temperature)  # (rows, vocabulary), the largest is 1
        if self._cuts is not None:
            weights = self._cuts.apply(weights)
        cumulative = weights.cumsum(-1, dtype=self._wide)
        total = cumulative[:, -1:]
        point = torch.as_tensor(uniforms, dtype=self._wide).to(self._device, non_blocking=True)[:, None] * total
        point = torch.minimum(point, total * (1 - torch.finfo(self._wide).eps))  # rounding may reach the very end
        # with NaN logits the index may be out of range
        return torch.searchsorted(cumulative, point, right=True).clamp(max=weights.shape[-1] - 1)  # (rows, 1)

    def _column(self, values: NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(values, device=self._device)[:, None]  # (rows, 1)


class _Cuts:
    """top-k, top-p and min-p, by row; a row without a cut keeps everything."""

    def __init__(self, samplers: Sequence[Sampler], wide: torch.dtype, device: torch.device) -> None:
        def column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]  # (rows, 1)

        self._wide = wide
        self._sorts = any(s.top_k or s.top_p < 1 for s in samplers)
        self._top_k = column([s.top_k or 2**31 for s in samplers], torch.int64)
        # without a cut, top-p is 2, which is never reached
        self._top_p = column([s.top_p if s.top_p < 1 else 2.0 for s in samplers], wide)
        self._min_p = column([s.min_p for s in samplers], torch.float32)

    def apply(self, weights: Tensor) -> Tensor:
        """`weights` (rows, vocabulary), the largest of a row is 1, with 0 where a token is cut."""
        if not self._sorts:
            return weights * (weights >= self._min_p)
        ranked = _descending(weights)  # (rows, vocabulary)
        ranks = torch.arange(ranked.shape[-1], device=ranked.device)
        remaining = ranks < self._top_k
        cumulative = (ranked * remaining).cumsum(-1, dtype=self._wide)
        reached = (cumulative < self._top_p * cumulative[:, -1:]).sum(-1, keepdim=True)
        remaining = remaining & (ranks <= reached) & (ranked >= self._min_p)
        count = remaining.sum(-1, keepdim=True)  # (rows, 1), at least 1: the most likely token passes every cut
        # ties at the edge go to lower ids, as in a stable sort
        edge = ranked.gather(-1, count - 1)
        above, tied = weights > edge, weights == edge
        room = count - above.sum(-1, keepdim=True)
        return weights * (above | (tied & (tied.cumsum(-1) <= room)))


def _cuts(sampler: Sampler) -> bool:
    return bool(sampler.top_k) or sampler.top_p < 1 or sampler.min_p > 0


def _descending(weights: Tensor) -> Tensor:
    if weights.device.type == "cpu":  # numpy sorts 48 rows of 49,152 in 5 ms, torch in 69
        return torch.from_numpy(-np.sort(-weights.numpy(), axis=-1))
    return weights.sort(-1, descending=True).values
