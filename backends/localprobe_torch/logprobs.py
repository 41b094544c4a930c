"""Log-probabilities requested by the rows of a forward pass: of given targets, or of the whole vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localprobe.engine import FloatArray, Row
from localprobe_torch.network import Network


class LogProbabilities:
    """Finds the requested positions, and computes the logits of only those, in parts."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._target_counts = [0 if row.targets is None else len(row.targets) for row in rows]
        self._full_counts = [len(row.full) for row in rows]
        targets = [(r, p, i) for r, row in enumerate(rows) if row.targets is not None for p, i in row.targets.tolist()]
        full = [(r, p) for r, row in enumerate(rows) for p in row.full]
        places = np.array([place[:2] for place in [*targets, *full]], dtype=np.int64).reshape(-1, 2)
        self._places, index = np.unique(places, axis=0, return_inverse=True)  # (n, 2) of row and position, in order
        self._target_index, self._full_index = np.split(index.reshape(-1), [len(targets)])
        self._ids = np.array([target[2] for target in targets], dtype=np.int64)
        self._found: tuple[Tensor, Tensor] | None = None

    @property
    def count(self) -> int:
        """Number of positions that need logits."""
        return len(self._places)

    def read(self, states: Tensor, network: Network) -> None:
        """Compute the log-probabilities from the hidden states after the final norm, (rows, columns, width)."""
        device = states.device
        places = torch.from_numpy(self._places).to(device)
        hidden = states[places[:, 0], places[:, 1]]  # (n, width)
        targets = torch.empty(len(self._ids), device=device)
        full = torch.empty(len(self._full_index), network.vocabulary, device=device)
        for part, logits in network.head.chunks(hidden, network.vocabulary):
            logprobs = torch.log_softmax(logits, -1)  # (part, vocabulary)
            inside, local = (tensor.to(device) for tensor in _inside(self._target_index, part))
            targets[inside] = logprobs[local, torch.from_numpy(self._ids).to(device)[inside]]
            inside, local = (tensor.to(device) for tensor in _inside(self._full_index, part))
            full[inside] = logprobs[local]
        self._found = targets, full

    def tensors(self, network: Network) -> tuple[Tensor, Tensor]:
        """Targets (all,) and full rows (all, vocabulary), float32; empty if nothing was read."""
        if self._found is None:
            return torch.empty(0, device=network.device), torch.empty(0, network.vocabulary, device=network.device)
        return self._found

    def outputs(self, targets: FloatArray, full: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
        """Split by row: (k,) and (positions, vocabulary)."""
        by_row = np.split(targets, np.cumsum(self._target_counts)[:-1])
        return by_row, np.split(full, np.cumsum(self._full_counts)[:-1])


def _inside(index: NDArray[np.int64], part: slice) -> tuple[Tensor, Tensor]:
    """Which of the requested positions lie in a part, and their indices in it."""
    inside = np.flatnonzero((index >= part.start) & (index < part.stop))
    return torch.from_numpy(inside), torch.from_numpy(index[inside] - part.start)
