"""The projections that a stream reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from localprobe.engine import FloatArray, Watch
from localprobe_llama.callback import Reader


class Watched:
    """Watches by layer, and the readers that compute them."""

    def __init__(self, watch: Sequence[Watch]) -> None:
        self.all = tuple(watch)
        self.count = len(watch)
        self.layers = sorted({watched.layer for watched in watch})
        numbers = {layer: [n for n, watched in enumerate(watch) if watched.layer == layer] for layer in self.layers}
        self._vectors = {
            layer: np.stack([watch[n].vector for n in columns], axis=1) for layer, columns in numbers.items()
        }  # (width, columns)
        self._columns = {layer: _together(columns) for layer, columns in numbers.items()}

    def readers(self, scores: FloatArray) -> Mapping[int, Reader]:
        """Readers that project residuals into `scores` (rows, watches)."""

        def reader(layer: int) -> Reader:
            columns, vectors = self._columns[layer], self._vectors[layer]

            def read(residual: FloatArray) -> None:  # (rows, width)
                scores[:, columns] = residual @ vectors

            return read

        return {layer: reader(layer) for layer in self.layers}


def _together(numbers: list[int]) -> slice | list[int]:
    """Numbers as a slice if they follow each other, which numpy finds its way to in a fraction of the time."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if last - first == len(numbers) - 1 else numbers
