"""Readers of the residual stream: whole or pooled residuals for `forward`, projections for a stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from localprobe.engine import FloatArray, Row, Span, Watch
from localprobe_torch.taps import Read


class Residuals:
    """Residuals of some layers as requested by each row of a batch, kept on the device until the pass is over.

    Pooling is a product with a matrix of weights, in float32: one operation per layer for the whole batch.
    """

    def __init__(self, rows: Sequence[Row], layers: Sequence[int], width: int, device: torch.device) -> None:
        self._rows = rows
        self._order = list(layers)
        self._layers = sorted(set(layers))
        self._pooled = [row for row in range(len(rows)) if rows[row].spans is not None]
        self._whole = [row for row in range(len(rows)) if rows[row].spans is None]
        longest = max(len(row.ids) for row in rows)
        spans = [rows[row].spans or () for row in self._pooled]
        self._weights = _weights(spans, longest, device)  # (pooled rows, spans, columns)
        tokens = max((len(rows[row].ids) for row in self._whole), default=0)
        self._means = torch.empty(len(spans), len(self._layers), self._weights.shape[1], width, device=device)
        self._tokens = torch.empty(len(self._whole), len(self._layers), tokens, width, device=device)

    def reads(self) -> dict[int, Read]:
        """The reader of each layer, to be called once per pass."""
        return {layer: partial(self._read, index) for index, layer in enumerate(self._layers)}

    def _read(self, index: int, hidden: Tensor) -> None:
        if self._pooled:
            rows = hidden if not self._whole else hidden[self._pooled]  # (pooled rows, columns, width)
            weights = self._weights.to(rows.device)
            self._means[:, index] = torch.bmm(weights, rows.float())
        if self._whole:
            rows = hidden if not self._pooled else hidden[self._whole]  # (whole rows, columns, width)
            self._tokens[:, index] = rows[:, : self._tokens.shape[2]]

    def tensors(self) -> list[Tensor]:
        """The tensors that `outputs` needs on the host."""
        return [self._means, self._tokens]

    def outputs(self, means: FloatArray, tokens: FloatArray) -> list[FloatArray]:
        """For each row (layers, spans or positions, width), layers in the requested order."""
        by_layer: dict[int, FloatArray] = {}
        for index, row in enumerate(self._pooled):
            by_layer[row] = means[index, :, : len(self._rows[row].spans or ())]
        for index, row in enumerate(self._whole):
            by_layer[row] = tokens[index, :, : len(self._rows[row].ids)]
        if self._order == self._layers:
            return [by_layer[row] for row in range(len(self._rows))]
        order = [self._layers.index(layer) for layer in self._order]
        return [by_layer[row][order] for row in range(len(self._rows))]


class Projections:
    """Dot products of residuals with watched vectors, for every position of a pass."""

    def __init__(self, watches: Sequence[Watch], devices: Sequence[torch.device]) -> None:
        by_layer = sorted(range(len(watches)), key=lambda index: watches[index].layer)
        self.count = len(watches)
        self._order = None if by_layer == list(range(len(watches))) else np.argsort(by_layer).tolist()
        self._vectors: dict[int, Tensor] = {}
        for layer in sorted({watch.layer for watch in watches}):
            vectors = np.stack([watches[index].vector for index in by_layer if watches[index].layer == layer], axis=1)
            self._vectors[layer] = torch.tensor(vectors, dtype=torch.float32, device=devices[layer])  # (width, watches)
        self._parts: list[Tensor] = []

    def reads(self) -> dict[int, Read]:
        """The reader of each watched layer, to be called once per pass, in the order of layers."""
        self._parts.clear()
        return {layer: partial(self._read, vectors) for layer, vectors in self._vectors.items()}

    def _read(self, vectors: Tensor, hidden: Tensor) -> None:
        self._parts.append(hidden.float() @ vectors)  # (rows, columns, watches of the layer)

    def take(self, device: torch.device) -> Tensor:
        """The scores of the last pass, (rows, columns, watches) float32; needs at least one watch."""
        scores = self._parts[0] if len(self._parts) == 1 else torch.cat([part.to(device) for part in self._parts], -1)
        self._parts.clear()
        return scores.to(device) if self._order is None else scores.to(device)[..., self._order]


def _weights(spans: Sequence[Sequence[Span]], columns: int, device: torch.device) -> Tensor:
    """(rows, most spans, columns) float32: 1/n over the n columns of a span."""
    weights = np.zeros((len(spans), max(map(len, spans), default=0), columns), dtype=np.float32)
    for row, of_row in enumerate(spans):
        for index, (start, stop) in enumerate(of_row):
            weights[row, index, start:stop] = 1 / (stop - start)
    return torch.from_numpy(weights).to(device)
