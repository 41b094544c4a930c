"""Keys and values of a batch, where slot i of a row holds position i, so that rows can be cut and extended separately.

mlx-lm's own caches pad rows of a batch on the left and keep sliding windows in a ring buffer, so single rows can be
neither cut nor steered again. Here every layer keeps all positions, and sliding windows are masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import mlx.core as mx
import numpy as np


class Place:
    """The positions that one pass runs, the same for all layers: `starts[row] .. starts[row] + length` of each row."""

    def __init__(self, starts: Sequence[int], length: int, rows: slice = slice(None), mask_axes: int = 1) -> None:
        """`rows` are the rows of the cache that the pass runs; `mask_axes` is the number of axes between the mask's
        rows and queries."""
        self.length = length
        self.rows = rows
        self.end = max(starts) + length
        """Number of slots that the pass reads."""
        self._starts = list(starts)
        self._ragged = min(starts) != max(starts)
        self._mask_axes = mask_axes
        self._masks: dict[tuple[int | None, bool], Any] = {}

    @cached_property
    def offset(self) -> Any:
        """Position of each row's first token, as rotary embeddings take it: one int, or (rows,) int32."""
        return mx.array(self._starts, mx.int32) if self._ragged else self._starts[0]

    @cached_property
    def _slots(self) -> mx.array:
        """(rows, 1, length, 1) int32."""
        slots = np.array(self._starts)[:, None] + np.arange(self.length)  # (rows, length)
        return mx.array(slots[:, None, :, None].astype(np.int32))

    def write(self, store: mx.array, new: mx.array) -> mx.array:
        """`store` (rows, heads, slots, size) with `new` (rows, heads, length, size) at this place."""
        if self._ragged:
            return mx.put_along_axis(store, mx.broadcast_to(self._slots, new.shape), new, axis=2)
        store[self.rows, :, self.offset : self.end, :] = new
        return store

    def mask(self, window: int | None, as_array: bool) -> Any:
        """The attention mask of this place: bool, "causal", or None for no mask."""
        key = (window, as_array)
        if key not in self._masks:
            self._masks[key] = self._mask(window, as_array)
        return self._masks[key]

    def _mask(self, window: int | None, as_array: bool) -> Any:
        if not self._ragged and (window is None or self.end <= window):
            if self.length == 1:
                return None
            if not as_array:
                return "causal"
        starts = np.array(self._starts if self._ragged else self._starts[:1])
        query = starts[:, None, None] + np.arange(self.length)[:, None]  # (rows or 1, length, 1)
        key = np.arange(self.end)  # (slots,)
        visible = key <= query  # (rows or 1, length, slots)
        if window is not None:
            visible &= key > query - window
        if not self._ragged:
            return mx.array(visible[0])
        return mx.array(visible.reshape(len(starts), *[1] * self._mask_axes, *visible.shape[1:]))


class LayerCache:
    """The cache of one layer, as mlx-lm's models use it: `offset`, `make_mask`, `update_and_fetch`."""

    def __init__(self, window: int | None, rows: int, slots: int) -> None:
        """`window` is the number of positions that a query attends to, its own included; None for all."""
        self.place = Place([0], 1)
        self._window = window
        self._rows = rows
        self._slots = slots
        self._stores: list[mx.array] = []  # keys and values, each (rows, heads, slots, size)

    @property
    def offset(self) -> Any:
        return self.place.offset

    def make_mask(self, N: int, return_array: bool = False, window_size: int | None = None) -> Any:  # noqa: N803 (mlx-lm's names)
        return self.place.mask(window_size or self._window, return_array)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Store (rows, heads, length, size) at the place; returns all slots that the place reads."""
        if not self._stores:
            self._stores = [
                mx.zeros((self._rows, new.shape[1], self._slots, new.shape[3]), new.dtype) for new in (keys, values)
            ]
        stored = [self.place.write(store, new) for store, new in zip(self._stores, (keys, values), strict=True)]
        self._stores = stored
        rows, end = self.place.rows, self.place.end
        return stored[0][rows, :, :end], stored[1][rows, :, :end]

    @property
    def arrays(self) -> list[mx.array]:
        return self._stores

    def take(self, rows: mx.array, slots: int | None = None) -> None:
        """Keep these rows, in this order, and the first `slots` of each, None for all; rows may be repeated."""
        self._rows = rows.size
        self._slots = min(slots or self._slots, self._slots)
        self._stores = [store[:, :, : self._slots][rows] for store in self._stores]
        mx.eval(self._stores)  # layer by layer, so that only one layer is held twice

    def grow(self, slots: int) -> None:
        """Make room for positions up to `slots`."""
        if slots > self._slots:
            self._stores = [_padded(store, slots) for store in self._stores]
            self._slots = slots
            mx.eval(self._stores)

    def append(self, other: LayerCache, rows: mx.array, slots: int) -> None:
        """Put these rows of another cache after those of this one, all with at least `slots` slots."""
        slots = max(slots, self._slots)
        stores = [
            mx.concatenate([_padded(store, slots), _padded(new[:, :, :slots][rows], slots)])
            for store, new in zip(self._stores, other._stores, strict=True)
        ]
        mx.eval(stores)  # before it becomes the cache: if there is no memory for it, the old one stays
        self._stores, self._rows, self._slots = stores, self._rows + rows.size, slots

    def cut(self, rows: int) -> None:
        """Keep the first rows, with no new memory."""
        self._stores, self._rows = [store[:rows] for store in self._stores], min(rows, self._rows)

    def copied(self, row: int, length: int) -> LayerCache:
        """A cache of one row of `length` slots, with that row's first positions."""
        copy = LayerCache(self._window, 1, length)
        # `contiguous`, because a slice would keep the whole array that it is a part of.
        copy._stores = [mx.contiguous(store[row : row + 1, :, :length]) for store in self._stores]
        mx.eval(copy._stores)
        return copy

    def put(self, row: int, source: LayerCache, length: int) -> None:
        """Write the first `length` positions of a cache of one row into a row of this one."""
        if not self._stores:
            self._stores = [
                mx.zeros((self._rows, own.shape[1], self._slots, own.shape[3]), own.dtype) for own in source._stores
            ]
        for store, new in zip(self._stores, source._stores, strict=True):
            store[row : row + 1, :, :length] = new[:, :, :length]
        mx.eval(self._stores)


def _padded(store: mx.array, slots: int) -> mx.array:
    """Keys or values (rows, heads, less slots, size) with empty slots after theirs."""
    return mx.pad(store, [(0, 0), (0, 0), (0, slots - store.shape[2]), (0, 0)])


class NoCache(LayerCache):
    """For a pass without a cache: positions and masks only."""

    def __init__(self, window: int | None) -> None:
        super().__init__(window, 0, 0)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return keys, values
