"""Measuring whether MKL (torch's default) or oneDNN computes float32 linear layers faster on this machine.

The vendor of the processor does not decide it: on an AMD EPYC with AVX-512 oneDNN takes half of MKL's time, and on AMD
processors without AVX-512 it is slower. So both are timed once, in less than half a second, and the result is cached
for the processor, the number of threads and the version of torch: later runs use the same library and repeat bitwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from localprobe.machine import processor
from localprobe.store import memo

_KIND = "linear"
_IN, _OUT = 1024, 2048
_TRIALS, _ROUNDS = 3, 8
_GAIN = 1.15
"""oneDNN must be faster by this factor on average: less may be noise, and MKL is torch's default."""
_LOSS = 0.97
"""And in no case slower than this factor."""


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster oneDNN is than MKL."""

    decoding: float
    """For one row, as in a decode step of one answer."""
    capture: float
    """For a batch of rows."""

    @property
    def clear(self) -> bool:
        """Whether oneDNN is faster by more than measurement noise."""
        mean = (self.decoding * self.capture) ** 0.5
        return mean >= _GAIN and min(self.decoding, self.capture) >= _LOSS


def onednn_is_faster(onednn: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether `onednn`, a linear layer of (rows, weight), is clearly faster here than torch's own.

    Measured by the first call for the current number of threads, cached afterwards. As load on the machine may favour
    oneDNN in one trial by chance, it must be faster in all trials.
    """
    key = (processor(), torch.backends.cpu.get_cpu_capability(), str(torch.get_num_threads()), torch.__version__)
    cached = memo.recall(_KIND, key)
    if isinstance(cached, dict) and isinstance(cached.get("onednn"), bool):
        return bool(cached["onednn"])
    speedups: list[Speedup] = []
    while len(speedups) < _TRIALS and all(speedup.clear for speedup in speedups):
        speedups.append(measure(onednn))
    faster = all(speedup.clear for speedup in speedups)
    memo.keep(_KIND, key, {"onednn": faster, "speedups": [asdict(speedup) for speedup in speedups]})
    return faster


def measure(onednn: Callable[[Tensor, Tensor], Tensor]) -> Speedup:
    """Time both on layers of a usual size, in one trial."""
    # One row is multiplied by many matrices, as in a model; a single matrix would stay in the processor's cache.
    return Speedup(decoding=_ratio(onednn, rows=1, matrices=8), capture=_ratio(onednn, rows=128, matrices=1))


@torch.inference_mode()
def _ratio(onednn: Callable[[Tensor, Tensor], Tensor], rows: int, matrices: int) -> float:
    weights = [torch.full((_OUT, _IN), 0.01) for _ in range(matrices)]
    inputs = torch.full((rows, _IN), 0.5)

    def seconds(layer: Callable[[Tensor, Tensor], Tensor]) -> float:
        start = time.perf_counter()
        for weight in weights:
            layer(inputs, weight)
        return time.perf_counter() - start

    # Alternating, and the best of each: other load can only make a round slower.
    rounds = [(seconds(nn.functional.linear), seconds(onednn)) for _ in range(_ROUNDS + 1)][1:]
    return min(mkl for mkl, _ in rounds) / min(other for _, other in rounds)
