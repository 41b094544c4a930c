"""The llama_batch of a pass, over reused numpy arrays."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from localprobe.engine import IntArray


class Batch:
    """Room for `size` tokens, each in one sequence."""

    def __init__(self, size: int) -> None:
        self._tokens = np.empty(size, np.int32)
        self._positions = np.empty(size, np.int32)
        self._sequences = np.empty(size, np.int32)
        self._outputs = np.empty(size, np.int8)
        self._counts = np.ones(size, np.int32)  # sequences of each token
        step = self._sequences.itemsize
        self._pointers = self._sequences.ctypes.data + step * np.arange(
            size, dtype=np.uintp
        )  # to each token's sequence
        self._batch = llama_cpp.llama_batch(
            token=_pointer(self._tokens, ctypes.c_int32),
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._counts, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._outputs, ctypes.c_int8),
        )

    def fill(self, tokens: IntArray, positions: IntArray, sequences: IntArray, outputs: NDArray[np.bool_]) -> Any:
        """The llama_batch of tokens (n,), n at most `size`; valid until the next call."""
        n = len(tokens)
        self._tokens[:n] = tokens
        self._positions[:n] = positions
        self._sequences[:n] = sequences
        self._outputs[:n] = outputs
        self._batch.n_tokens = n
        return self._batch


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
