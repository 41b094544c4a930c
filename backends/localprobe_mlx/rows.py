"""Where the rows of a stream are in its caches, and what is held there apart from rows.

A row has a place in the caches. Without a reserve, row i is at place i. With one, there are spare places and slots: a
row that joins takes the first spare place, and where one leaves, the row at the last place moves: rows come and go
without a copy of the whole cache, and the places in use have no gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from localprobe.engine import Prompt, Reserve
from localprobe.errors import OutOfMemory, UsageError
from localprobe_mlx.cache import LayerCache
from localprobe_mlx.memory import Memory
from localprobe_mlx.network import Network

ADVICE = "open fewer rows, shorter prompts or less room"


def copied(prompts: Sequence[Prompt]) -> list[int]:
    """For each row that these prompts give, the number of its prompt."""
    return [number for number, prompt in enumerate(prompts) for _ in range(prompt.copies)]


def capacities(prompts: Sequence[Prompt], room: int) -> list[int]:
    """For each row that these prompts give, the tokens that it may hold."""
    return [len(prompts[number].ids) + room for number in copied(prompts)]


@dataclass(frozen=True, slots=True)
class _HeldRow:
    caches: list[LayerCache]  # one row each
    length: int


class Rows:
    """The caches of a stream's rows, and its held positions."""

    def __init__(self, network: Network, memory: Memory, reserve: Reserve | None) -> None:
        self._network = network
        self._memory = memory
        self._reserve = reserve
        self._held: dict[int, _HeldRow] = {}
        self._holds = 0  # numbers given so far
        self.clear()

    def clear(self) -> None:
        """Free all rows."""
        self.caches: list[LayerCache] = []
        self.order = np.zeros(0, np.int64)
        """(rows,): the place of each row."""
        self._capacities: list[int] = []  # by place: the tokens that each row may hold

    def check(self, capacities: Sequence[int]) -> None:
        """Raises UsageError if no row can join, OutOfMemory if the reserve has no place for rows of so many tokens."""
        if self._reserve is None:
            raise UsageError("no row can join this stream: open it with `reserve`")
        rows = len(self.order) + len(self._held) + len(capacities)
        tokens = sum(self._capacities) + sum(held.length for held in self._held.values()) + sum(capacities)
        if rows > self._reserve.rows or tokens > self._reserve.tokens:
            raise OutOfMemory(
                f"{rows} rows with room for {tokens} tokens in all do not fit: this stream was opened for "
                f"{self._reserve.rows} rows and {self._reserve.tokens} tokens"
            )

    def check_reserve(self) -> None:
        """Raises OutOfMemory if the memory has no place for all of the reserve."""
        if self._reserve:
            what = f"a cache of {self._reserve.rows} rows with {self._reserve.tokens} tokens in all"
            self._memory.check(self._reserve.tokens * self._network.slot_bytes, what, ADVICE)

    def begin(self, prompts: Sequence[Prompt], room: int, reused: list[LayerCache] | None = None) -> list[LayerCache]:
        """Caches in which prompts can be run, with what they keep: the old stream's, or copies of held positions. With
        `room`, they can become the rows' own."""
        longest = max(len(prompt.ids) - prompt.keep for prompt in prompts)
        # Padding is run too, so it needs slots beyond the end of the row.
        slots = max(max(len(prompt.ids) + room, prompt.keep + longest) for prompt in prompts)
        rows = sum(prompt.copies for prompt in prompts)
        what = f"a cache of {rows} rows of {slots} tokens"
        self._memory.check(rows * slots * self._network.slot_bytes, what, ADVICE)
        if reused:
            for cache in reused:
                cache.grow(slots)
            return reused
        caches = self._network.caches(len(prompts), slots)
        for row, prompt in enumerate(prompts):
            if prompt.held is not None:
                for cache, held in zip(caches, self._find(prompt.held).caches, strict=True):
                    cache.put(row, held, 0, prompt.keep)
        return caches

    def add(self, prompts: Sequence[Prompt], room: int, caches: list[LayerCache]) -> None:
        """Put prompts that were run in `caches`, by `begin` with this room if there is no row, after the rows."""
        copies = copied(prompts)
        first = len(self.order)
        if not first:
            self.caches = caches
            if len(copies) > len(prompts):
                for cache in caches:
                    cache.take(mx.array(copies))
        else:
            for own, new in zip(self.caches, caches, strict=True):
                for place, number in enumerate(copies, first):
                    own.put(place, new, number, len(prompts[number].ids))
        self.order = np.append(self.order, np.arange(first, first + len(copies)))
        self._capacities += capacities(prompts, room)

    def make_place(self, capacities: Sequence[int]) -> None:
        """Let the caches have place for more rows, of so many tokens. Raises OutOfMemory if the memory has none."""
        rows, slots = len(self.order) + len(capacities), max(*self._capacities, *capacities)
        # After a failure, the caches of some layers may be larger than those of others.
        old = min(cache.size[0] for cache in self.caches), min(cache.size[1] for cache in self.caches)
        if rows <= old[0] and slots <= old[1]:
            return
        for size in self._sizes(rows, slots, old):
            nbytes = (size[0] * size[1] - old[0] * old[1]) * self._network.slot_bytes
            last = size == (rows, slots)
            if last or nbytes <= self._memory.free // 2:
                break
        self._memory.check(nbytes, f"a cache of {rows} rows of {slots} tokens", ADVICE)
        for cache in self.caches:
            cache.resize(*size)

    def _sizes(self, rows: int, slots: int, old: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Sizes that hold so many rows and slots, best first: with spare ones, so that a copy is rare, but for at most
        twice the tokens if those are beyond the reserve."""
        assert self._reserve
        most = max(self._reserve.tokens, 2 * rows * slots)
        spare_rows = old[0] if rows <= old[0] else min(2 * rows, self._reserve.rows)
        spare_slots = old[1] if slots <= old[1] else max(min(2 * slots, self._reserve.longest), slots)
        for size in ((spare_rows, spare_slots), (rows, spare_slots), (spare_rows, slots)):
            if size[0] * size[1] <= most:
                yield size
        yield rows, slots

    def drop(self, rows: Sequence[int]) -> list[int]:
        """Take rows out. Returns, for each place in use from now on, the place where its row was."""
        gone = set(self.order[list(rows)].tolist())
        left = len(self.order) - len(gone)
        if self._reserve is None:
            source = [place for place in range(len(self.order)) if place not in gone]
            for cache in self.caches if left else ():
                cache.take(mx.array(source, mx.int32))
        else:
            source = self._fill_gaps(gone, left)
        now = {place: number for number, place in enumerate(source)}
        self.order = np.array([now[place] for place in self.order.tolist() if place in now], np.int64)
        self._capacities = [self._capacities[place] for place in source]
        if not left:
            self.clear()
        return source

    def _fill_gaps(self, gone: set[int], left: int) -> list[int]:
        """Move the last rows to the places of those that are gone. Returns as `drop`."""
        source = list(range(left))
        gaps = [place for place in source if place in gone]
        moved = [place for place in range(left, len(self.order)) if place not in gone]
        for gap, place in zip(gaps, moved, strict=True):
            source[gap] = place
            for cache in self.caches:
                cache.put(gap, cache, place, min(self._capacities[place], cache.size[1]))
        return source

    def hand_over(self) -> list[LayerCache]:
        """The caches, with row i at place i and no spare ones."""
        caches = self.caches
        if self._reserve:
            for cache in caches:
                cache.take(mx.array(self.order.astype(np.int32)))
        self.clear()
        return caches

    def keep(self, caches: list[LayerCache], length: int) -> int:
        """Hold the positions of caches of one row. Returns their number."""
        self._holds += 1
        self._held[self._holds] = _HeldRow(caches, length)
        return self._holds

    def hold(self, row: int, length: int) -> int:
        """Hold a copy of a row's first `length` positions. Returns their number."""
        place = int(self.order[row])
        self._memory.check(length * self._network.slot_bytes, f"a copy of {length} tokens", ADVICE)
        return self.keep([cache.copied(place, length) for cache in self.caches], length)

    def release(self, held: int) -> None:
        """Free held positions."""
        self._find(held)
        del self._held[held]

    def release_all(self) -> None:
        """Free all held positions."""
        self._held = {}

    def _find(self, held: int) -> _HeldRow:
        if held not in self._held:
            raise UsageError(f"this stream holds no positions of number {held}: they were released, or never held")
        return self._held[held]
