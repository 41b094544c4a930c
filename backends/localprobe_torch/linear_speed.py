"""Which library computes float32 linear layers faster on this machine: MKL, which torch takes, or oneDNN.

The maker of the processor does not tell: on an AMD EPYC with AVX-512 oneDNN takes half of MKL's time, and on AMD
processors without AVX-512 it is the slower one. So both are timed once, in less than half a second, and the answer is
kept for the processor, the number of threads and the version of torch: later runs take the same library, and repeat to
the last bit.
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
"""oneDNN must be faster by this much on average: less may be noise, and MKL is what torch takes."""
_LOSS = 0.97
"""And nowhere slower than this."""


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster oneDNN is than MKL."""

    decoding: float
    """For one row, as a decode step of one answer has."""
    capture: float
    """For a batch of rows."""

    @property
    def clear(self) -> bool:
        """Whether oneDNN wins by more than the noise of a measurement."""
        mean = (self.decoding * self.capture) ** 0.5
        return mean >= _GAIN and min(self.decoding, self.capture) >= _LOSS


def onednn_is_faster(onednn: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether `onednn`, a linear layer of (rows, weight), is clearly faster here than torch's own.

    Measured at the first call on a machine with the present number of threads, recalled afterwards. A busy machine may
    make one trial favour oneDNN by chance: it is taken only if all do.
    """
    key = (processor(), torch.backends.cpu.get_cpu_capability(), str(torch.get_num_threads()), torch.__version__)
    kept = memo.recall(_KIND, key)
    if isinstance(kept, dict) and isinstance(kept.get("onednn"), bool):
        return bool(kept["onednn"])
    speedups: list[Speedup] = []
    while len(speedups) < _TRIALS and all(speedup.clear for speedup in speedups):
        speedups.append(measure(onednn))
    faster = all(speedup.clear for speedup in speedups)
    memo.keep(_KIND, key, {"onednn": faster, "speedups": [asdict(speedup) for speedup in speedups]})
    return faster


def measure(onednn: Callable[[Tensor, Tensor], Tensor]) -> Speedup:
    """Time both on layers of a usual size, in one trial."""
    # One row is multiplied by many matrices, as in a model: a single one would stay in the processor's cache.
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

    # In turn, and the best of each: whatever else the machine does can only make a round slower.
    rounds = [(seconds(nn.functional.linear), seconds(onednn)) for _ in range(_ROUNDS + 1)][1:]
    return min(mkl for mkl, _ in rounds) / min(other for _, other in rounds)
