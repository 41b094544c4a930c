"""Rows of ids as one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from localprobe.engine import IntArray


def pad(rows: Sequence[IntArray], device: torch.device) -> Tensor:
    """(rows, longest) int64, each row padded on the right with its own last id."""
    ids = np.empty((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, of_row in enumerate(rows):
        ids[row, : len(of_row)] = of_row
        ids[row, len(of_row) :] = of_row[-1]
    return torch.from_numpy(ids).to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Float32 tensors as numpy arrays, from a device in one transfer."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return [tensor.numpy() for tensor in tensors]
    parts = [tensor.reshape(-1).to(tensors[0].device) for tensor in tensors if tensor.numel()]
    flat = (parts[0] if len(parts) == 1 else torch.cat([*parts, tensors[0].new_empty(0)])).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors])[:-1]
    return [part.reshape(tensor.shape) for part, tensor in zip(np.split(flat, ends), tensors, strict=True)]
