"""The KV cache: position p of a row is in column p, independent of the other rows.

So rows of different lengths need no padding between tokens, a row can be cut without moving data, and every mask,
including sliding windows and chunks, depends only on the position of the query.

transformers creates the masks while a model runs. The `sdpa` and `eager` mask functions are replaced here: within a
pass over this cache they use each row's own positions; outside of one they are unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, causal_mask_function

from localprobe.engine import IntArray


class Frame:
    """Where the tokens of one pass go: its row r is row `first + r` of the cache, and takes `columns` columns from
    `starts[r]` on, padding included."""

    def __init__(
        self,
        starts: Sequence[int] | NDArray[np.int64],
        columns: int,
        capacity: int,
        device: torch.device,
        first: int = 0,
    ) -> None:
        self.starts = np.asarray(starts, dtype=np.int64)
        self.columns = columns
        self.capacity = capacity
        self.rows = slice(first, first + len(self.starts))
        """Rows of the cache."""
        self.seen = int(self.starts.max())
        self.length = self.seen + columns
        """Number of columns that the pass attends over."""
        self.causal = columns == self.length or (columns == 1 and bool((self.starts == self.starts[0]).all()))
        """Whether the mask of every row is the plain causal one, which attention kernels have built in."""
        positions = self.starts[:, None] + np.arange(columns)  # (rows, columns)
        slots = np.arange(self.rows.start, self.rows.stop)[:, None] * capacity + positions
        both = torch.from_numpy(np.stack([positions, slots])).to(device, non_blocking=True)
        self.positions = both[0]
        """(rows, columns) int64."""
        self._slots = {(device, capacity): both[1].reshape(-1)}

    def slots(self, device: torch.device, capacity: int) -> Tensor:
        """Index of each token of the pass into all columns of all rows, (rows * columns,) int64, where rows have
        `capacity` columns."""
        if (device, capacity) not in self._slots:
            rows = torch.arange(self.rows.start, self.rows.stop, device=device)[:, None]
            self._slots[device, capacity] = (rows * capacity + self.positions.to(device)).reshape(-1)
        return self._slots[device, capacity]

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Masks created inside the block are those of this frame."""
        token = _frame.set(self)
        try:
            yield
        finally:
            _frame.reset(token)


class ColumnCache(Cache):  # type: ignore[misc]
    """Keys and values of all layers."""

    def __init__(self, layers: int) -> None:
        self._place = Place()
        super().__init__(layers=[ColumnLayer(self._place) for _ in range(layers)])

    def place(self, frame: Frame) -> None:
        """Set where the tokens of the next pass go."""
        self._place.frame = frame

    def take(self, rows: Sequence[int] | IntArray, length: int, capacity: int) -> None:
        """Keep these rows, in this order and possibly repeated, with their first `length` columns."""
        for layer in self.layers:
            layer.take(rows, length, capacity)


class Place:
    """Shared by the layers of a cache. They do not reference the cache itself, as a cycle would delay the release of
    its memory."""

    frame: Frame
    size: tuple[int, int] | None = None
    """Rows and columns that a layer allocates; None for those of its first pass."""


class ColumnLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, (rows, capacity, heads, dimensions): the tokens of a pass are stored by one
    copy."""

    is_compileable = False
    is_croppable = False
    is_sliding = False

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = self._empty(key_states), self._empty(value_states)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store (rows, heads, columns, dimensions) and return all columns of the pass, (rows, heads, length, ...)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self._store(self.keys, key_states), self._store(self.values, value_states)

    def take(self, rows: Sequence[int] | IntArray, length: int, capacity: int) -> None:
        """Keep these rows with their first `length` columns, in new memory."""
        if self.is_initialized:
            index = torch.as_tensor(rows, dtype=torch.int64, device=self.keys.device)
            self.keys = _rows(self.keys, index, length, capacity)
            self.values = _rows(self.values, index, length, capacity)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._place.frame.length, 0

    def get_seq_length(self) -> int:
        return self._place.frame.seen

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # its name in earlier versions of transformers 5

    def _empty(self, states: Tensor) -> Tensor:
        rows, heads, _, dimensions = states.shape
        # zeros: masked columns still enter the product of weights and values, where NaN would spread
        return states.new_zeros(*(self._place.size or (rows, self._place.frame.capacity)), heads, dimensions)

    def _store(self, stored: Tensor, states: Tensor) -> Tensor:
        frame = self._place.frame
        slots = frame.slots(stored.device, stored.shape[1])
        flat = stored.view(-1, *stored.shape[2:])  # (rows * capacity, heads, dimensions)
        fresh = states.transpose(1, 2).reshape(-1, *stored.shape[2:])  # (rows * columns, heads, dimensions)
        visible = stored[frame.rows, : frame.length].transpose(1, 2)  # (rows, heads, length, dimensions)
        if stored.device.type == "mps":  # Metal has lacked index_copy_, and its attention has erred on strided keys
            flat[slots] = fresh
            return visible.contiguous()
        flat.index_copy_(0, slots, fresh)
        return visible


def _rows(stored: Tensor, index: Tensor, length: int, capacity: int) -> Tensor:
    rows = stored.new_zeros(len(index), capacity, *stored.shape[2:])
    rows[:, :length] = stored[index, :length]
    return rows


_frame: ContextVar[Frame | None] = ContextVar("frame", default=None)


def _mask(own: Callable[..., Any], **arguments: Any) -> Any:
    """The mask that `own`, a mask function of transformers, creates for each row's own positions."""
    frame = _frame.get()
    if frame is None:
        return own(**arguments)
    pattern = arguments.pop("mask_function", causal_mask_function)
    positions = frame.positions.to(arguments.get("device", frame.positions.device))
    columns = positions.shape[1]

    def of_positions(row: Any, head: Any, query: Any, key: Any) -> Any:
        return pattern(row, head, positions[row, query], key)

    if "cache_position" in arguments:  # the first versions of transformers 5 name queries by their indices
        arguments["cache_position"] = torch.arange(columns, device=positions.device)
    else:
        arguments["q_offset"] = 0
    arguments["allow_is_causal_skip"] = frame.causal and arguments.get("allow_is_causal_skip", True)
    return own(**arguments, mask_function=of_positions)


for _name in ("sdpa", "eager"):
    ALL_MASK_ATTENTION_FUNCTIONS.register(_name, partial(_mask, ALL_MASK_ATTENTION_FUNCTIONS[_name]))
