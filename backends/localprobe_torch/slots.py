"""A KV cache whose rows come and go: slots with spare space, and positions that are held apart from them.

The first slots hold the rows that are decoded, so that a pass reads them in place; the slots and columns after them are
spare. A row that comes fills a spare slot. Where one goes, the last row moves into its slot.

A layer has a size of its own: if memory runs out while a cache grows, some layers are larger than others, and no harm
is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from localprobe_torch.kv import ColumnCache, ColumnLayer, Frame


@dataclass(frozen=True, slots=True)
class Positions:
    """Keys and values of the first positions of a row."""

    length: int
    layers: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (length, heads, dimensions) each."""


class SlotCache(ColumnCache):
    """Keys and values of all layers, in `slots` rows of `columns` columns."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers)
        self.slots, self.columns = 0, 0
        self._written = np.zeros(0, np.int64)  # (slots,): columns beyond are zeros

    @property
    def size(self) -> int:
        """Positions that it has memory for."""
        return self.slots * self.columns

    def resize(self, slots: int, columns: int, live: int) -> None:
        """Have this many slots and columns, and keep the first `live` slots."""
        written = np.minimum(self._written[:live], columns)
        for layer in self.layers:
            _resize(layer, slots, columns, live, int(written.max(initial=0)))
        self.slots, self.columns = slots, columns
        self._place.size = slots, columns
        self._written = np.concatenate([written, np.zeros(slots - live, np.int64)])

    def place(self, frame: Frame) -> None:
        super().place(frame)
        written = self._written[frame.rows]
        np.maximum(written, frame.starts + frame.columns, out=written)

    def clear(self, slot: int) -> None:
        """Empty a slot. What a row left behind is masked, but still enters products of weights and values, where NaN
        would spread."""
        for stored in self._stored():
            stored[slot, : self._written[slot]] = 0
        self._written[slot] = 0

    def copy(self, source: int, target: int) -> None:
        """Make a slot equal to another one."""
        columns = int(self._written[[source, target]].max())
        for stored in self._stored():
            stored[target, :columns] = stored[source, :columns]
        self._written[target] = self._written[source]

    def cut(self, slot: int, length: int) -> Positions:
        """A copy of the first positions of a slot."""
        parts = [(layer.keys[slot, :length].clone(), layer.values[slot, :length].clone()) for layer in self.layers]
        return Positions(length, parts)

    def only(self, length: int) -> Positions:
        """The first positions of a cache of one slot, which is not used any more."""
        return Positions(length, [(layer.keys[0, :length], layer.values[0, :length]) for layer in self.layers])

    def put(self, positions: Positions, length: int, slot: int) -> None:
        """Copy the first of some positions into an empty slot."""
        for layer, (keys, values) in zip(self.layers, positions.layers, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys.transpose(0, 1)[None], values.transpose(0, 1)[None])
            layer.keys[slot, :length] = keys[:length]
            layer.values[slot, :length] = values[:length]
        self._written[slot] = length

    def _stored(self) -> list[Tensor]:
        return [stored for layer in self.layers if layer.is_initialized for stored in (layer.keys, layer.values)]


def _resize(layer: ColumnLayer, slots: int, columns: int, live: int, written: int) -> None:
    if not layer.is_initialized:
        return
    for name in ("keys", "values"):
        stored: Tensor = getattr(layer, name)
        if stored.shape[:2] != (slots, columns):
            resized = stored.new_zeros(slots, columns, *stored.shape[2:])
            resized[:live, :written] = stored[:live, :written]
            setattr(layer, name, resized)
