"""The caches of a stream's rows, and of positions that are held apart from rows.

Row i of a stream is row i of its caches. A row that joins or leaves costs a copy of them, layer by layer: so they hold
no spare rows, and no more slots than the widest row needs. For 16 rows that join one by one, decode 64 tokens each and
leave, the copies take less than 5 % of the time (SmolLM2-135M on a CPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from localprobe.batches import capacities, copied
from localprobe.checks import check_place
from localprobe.engine import Prompt, Reserve
from localprobe.errors import UsageError
from localprobe_mlx.cache import LayerCache
from localprobe_mlx.memory import Memory
from localprobe_mlx.network import Network

ADVICE = "open fewer rows, shorter prompts or less room"


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
        self.caches: list[LayerCache] = []
        self._capacities: list[int] = []  # tokens that each row may hold

    def check(self, capacities: Sequence[int]) -> None:
        """Raises UsageError if no row can join, OutOfMemory if the reserve has no place for rows of so many tokens."""
        if self._reserve is None:
            raise UsageError("no row can join this stream: open it with `reserve`")
        check_place(self._reserve, [*self._capacities, *(held.length for held in self._held.values())], capacities)

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
                    cache.put(row, held, prompt.keep)
        return caches

    def check_memory(self, capacities: Sequence[int]) -> None:
        """Raises OutOfMemory if the memory has no place for more rows, of so many tokens, besides those there are."""
        rows, slots = len(self._capacities) + len(capacities), max(*self._capacities, *capacities)
        there = len(self._capacities) * max(self._capacities)
        what = f"a cache of {rows} rows of {slots} tokens"
        self._memory.check((rows * slots - there) * self._network.slot_bytes, what, ADVICE)

    def add(self, prompts: Sequence[Prompt], room: int, caches: list[LayerCache]) -> None:
        """Put prompts that were run in `caches` after the rows. Without rows, the caches must be from `begin` with this
        room: they become the rows' own."""
        copies, rows = mx.array(copied(prompts)), len(self._capacities)
        more = capacities(prompts, room)
        if not rows:
            self.caches = caches
            if len(more) > len(prompts):
                for cache in caches:
                    cache.take(copies)
        else:
            try:
                for own, new in zip(self.caches, caches, strict=True):
                    own.append(new, copies, max(more))
            except BaseException:
                for own in self.caches:
                    own.cut(rows)
                raise
        self._capacities += more

    def take(self, rows: list[int]) -> None:
        """Keep these rows."""
        self._capacities = [self._capacities[row] for row in rows]
        if not rows:
            self.caches = []
        slots = max(self._capacities) if self._reserve and rows else None
        for cache in self.caches:
            cache.take(mx.array(rows, mx.int32), slots)

    def hand_over(self) -> list[LayerCache]:
        """The caches of the rows. Nothing is left here."""
        caches = self.caches
        self.clear()
        return caches

    def clear(self) -> None:
        """Free the rows and what is held."""
        self.caches, self._capacities, self._held = [], [], {}

    def keep(self, caches: list[LayerCache], length: int) -> int:
        """Hold the positions of caches of one row. Returns their number."""
        self._holds += 1
        self._held[self._holds] = _HeldRow(caches, length)
        return self._holds

    def hold(self, row: int, length: int) -> int:
        """Hold a copy of a row's first `length` positions. Returns their number."""
        self._memory.check(length * self._network.slot_bytes, f"a copy of {length} tokens", ADVICE)
        return self.keep([cache.copied(row, length) for cache in self.caches], length)

    def release(self, held: int) -> None:
        """Free held positions."""
        self._find(held)
        del self._held[held]

    def _find(self, held: int) -> _HeldRow:
        if held not in self._held:
            raise UsageError(f"this stream holds no positions of number {held}: they were released, or never held")
        return self._held[held]
