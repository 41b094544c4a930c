"""Held prefixes: positions in the cache that later prompts may begin with, where tokens and steering are the same."""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.engine import Engine, IntArray, Steering
from localprobe.errors import OutOfMemory
from localprobe.generation.request import Request
from localprobe.generation.reuse import common_prefix, reusable
from localprobe.scheduling.batch import Batch
from localprobe.steering.history import ended, same_until

WORTH = 16
"""Positions below which nothing is held or copied: prefilling them costs less than the bookkeeping."""


@dataclass(slots=True, eq=False)
class Prefix:
    """Held positions."""

    number: int
    ids: IntArray
    """(n,) int32."""
    steering: Steering
    """The steering that they were computed under."""
    used: int
    """When they were last used, in uses of all."""


class Prefixes:
    """The prefixes that a batch holds, at most `most`, the least recently used given up first."""

    def __init__(self, engine: Engine, most: int) -> None:
        self._engine = engine
        self._most = most
        self._held: list[Prefix] = []
        self._uses = 0
        self._stream = 0  # which of the batch's streams they are in
        self.pinned: set[int] = set()
        """Numbers that must not be given up now."""

    def __len__(self) -> int:
        return len(self._held)

    def find(self, batch: Batch, request: Request) -> tuple[int | None, int]:
        """The held positions that save a request the most, and how many of them it can begin with; None and 0 if
        nothing does. Positions of a row that is being decoded are held for it."""
        self._follow(batch)
        best, keep = None, WORTH - 1
        for prefix in self._held:
            if (same := reusable(self._engine, prefix.ids, prefix.steering, request)) > keep:
                best, keep = prefix, same
        row, length = None, keep
        for number in batch.numbers if self._most else ():
            ids, under = batch.run_of(number)
            if (same := reusable(self._engine, ids, under, request)) > length:
                row, length = number, same
        if row is not None and (taken := self._take(batch, row, length)):
            best, keep = taken, length
        if best is None:
            return None, 0
        self._uses += 1
        best.used = self._uses
        return best.number, keep

    def leaving(self, batch: Batch, number: int) -> None:
        """Hold the positions of a row that has ended."""
        self._follow(batch)
        ids, _ = batch.run_of(number)
        if self._most and len(ids) >= WORTH:
            self._take(batch, number, len(ids))

    def free(self, batch: Batch) -> bool:
        """Give the least recently used prefix up that is not pinned. False if there is none."""
        self._follow(batch)
        rest = [prefix for prefix in self._held if prefix.number not in self.pinned]
        if rest:
            self._release(batch, min(rest, key=lambda prefix: prefix.used))
        return bool(rest)

    def _take(self, batch: Batch, row: int, length: int) -> Prefix | None:
        """Hold the first positions of a row. None if there is no place, even without the others."""
        ids, under = batch.run_of(row)
        ids, under = ids[:length], ended(under, length)
        for old in [prefix for prefix in self._held if _within(prefix, ids, under)]:
            if old.number not in self.pinned:
                self._release(batch, old)
        while len(self._held) >= self._most:
            if not self.free(batch):
                return None
        while True:
            try:
                number = batch.hold(row, length)
                break
            except OutOfMemory:
                if not self.free(batch):
                    return None
        self._uses += 1
        self._held.append(Prefix(number, ids, under, self._uses))
        return self._held[-1]

    def _release(self, batch: Batch, prefix: Prefix) -> None:
        self._held.remove(prefix)
        batch.release(prefix.number)

    def _follow(self, batch: Batch) -> None:
        """Forget what another stream held."""
        if self._stream != batch.opened:
            self._held, self._stream = [], batch.opened


def _within(prefix: Prefix, ids: IntArray, under: Steering) -> bool:
    """Whether positions hold all that a prefix does."""
    n = len(prefix.ids)
    return n <= len(ids) and common_prefix(prefix.ids, ids) == n and same_until(prefix.steering, under, n) == n
