"""Terms of a batch as a few tensors per layer: one addition after each steered block, none after the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localprobe.engine import FloatArray, Steering, Term

_Deltas = dict[tuple[int, int], FloatArray]
"""Sum of the deltas of one row and layer, by the columns [start, stop) of the pass that they cover."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One delta per row, for some of its columns; zeros for a row without one."""

    deltas: Tensor
    """(rows, 1, width) float32."""
    columns: Tensor | None
    """(rows, columns, 1) float32, 1 where the delta applies; None where it applies to all."""

    def to(self, hidden: Tensor) -> Tensor:
        """Add to a residual (rows, columns, width); float32 in, float32 out."""
        if self.columns is None:
            return hidden + self.deltas
        return torch.addcmul(hidden, self.columns, self.deltas)


@dataclass(frozen=True, slots=True)
class LayerSteering:
    """All additions of one layer in one pass. Calling it steers a residual (rows, columns, width), in float32."""

    additions: Sequence[Addition]

    def __call__(self, hidden: Tensor) -> Tensor:
        steered = hidden.float()
        for addition in self.additions:
            steered = addition.to(steered)
        return steered.to(hidden.dtype)


def plan_steering(
    rows: Sequence[Steering], starts: Sequence[int], lengths: Sequence[int], devices: Sequence[torch.device]
) -> dict[int, LayerSteering]:
    """Steering of one pass, by layer. `devices` are those of each layer's residual.

    Row r of the pass holds positions `starts[r]` to `starts[r] + lengths[r]`, from column 0 on; the rest is
    padding, for which steering does not matter.
    """
    layers: dict[int, list[_Deltas]] = defaultdict(lambda: [{} for _ in rows])
    for row, (steering, start, length) in enumerate(zip(rows, starts, lengths, strict=True)):
        for term in steering:
            if (columns := _columns(term, start, length)) is not None:
                deltas = layers[term.layer][row]
                deltas[columns] = deltas[columns] + term.delta if columns in deltas else term.delta
    return {
        layer: LayerSteering(_additions(deltas, lengths, devices[layer])) for layer, deltas in sorted(layers.items())
    }


def next_change(steering: Steering, position: int) -> float:
    """The first position after `position` where a term of a row begins or ends; infinity if none does."""
    edges = (edge for term in steering for edge in (term.start, term.stop) if edge is not None and edge > position)
    return min(edges, default=float("inf"))


def _columns(term: Term, start: int, length: int) -> tuple[int, int] | None:
    """Columns of a row that a term covers, None if it covers none."""
    first = max(term.start - start, 0)
    stop = length if term.stop is None else min(term.stop - start, length)
    return (first, stop) if first < stop else None


def _additions(rows: Sequence[_Deltas], lengths: Sequence[int], device: torch.device) -> list[Addition]:
    """Addition k holds the k-th span of every row."""
    additions = []
    for k in range(max(map(len, rows))):
        picked = [(row, *list(deltas.items())[k]) for row, deltas in enumerate(rows) if len(deltas) > k]
        deltas = np.zeros((len(rows), 1, len(picked[0][2])), dtype=np.float32)
        for row, _, delta in picked:
            deltas[row, 0] = delta
        whole = all(columns == (0, lengths[row]) for row, columns, _ in picked)
        additions.append(Addition(_on(deltas, device), None if whole else _on(_mask(picked, lengths), device)))
    return additions


def _mask(picked: Sequence[tuple[int, tuple[int, int], FloatArray]], lengths: Sequence[int]) -> FloatArray:
    mask = np.zeros((len(lengths), max(lengths), 1), dtype=np.float32)
    for row, (first, stop), _ in picked:
        mask[row, first:stop] = 1
    return mask


def _on(values: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device, non_blocking=True)
