"""What one rendering may use, counted so that it does not depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

# A step takes 0.1 to 0.2 us: an endless template stops within a quarter of a second. The longest public ones use some
# 300 steps per message, and a message weighs 300 bytes or more.
STEPS = 1_000_000
STEPS_PER_BYTE = 8
# All that a rendering makes, whether it is still held or not.
MEMORY = 64 << 20
MEMORY_PER_BYTE = 128
# One value, written out.
LARGEST = 8 << 20
LARGEST_PER_BYTE = 8

BYTES_PER_STEP = 64
NUMBER_BITS = 64
"""Multiples of 2^61 - 1 beyond it share one place in a dict, which then takes hours to fill."""
_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))
_EMPTY: dict[str, int] = {}
_VIEWS = (type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items()))

DEPTH = 50
"""Calls of macros within each other. The Python stack of a terminal app has room for them."""


class Exceeded(Exception):
    """A rendering would need more than it may use."""


class Budget:
    """Steps and bytes that are left to one rendering, in proportion to its variables."""

    __slots__ = ("_known", "depth", "largest", "memory", "steps")

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._known: dict[int, tuple[Any, int]] = {}
        self.steps = 0
        given = sum(self.weight(value) for value in variables.values())
        self.steps = STEPS + STEPS_PER_BYTE * given
        self.memory = MEMORY + MEMORY_PER_BYTE * given
        self.largest = LARGEST + LARGEST_PER_BYTE * given
        self.depth = 0

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise Exceeded("it takes more steps than a conversation of this length can need (an endless loop?)")

    def expect(self, size: int) -> None:
        """Refuse a value of `size` bytes before it is made."""
        if size > self.largest:
            raise Exceeded("it makes a text or list far larger than this conversation")

    def read(self, value: T) -> T:
        """Count that all of a value is looked at: compared, searched, written out."""
        weight = len(value) if isinstance(value, str) else self.weight(value)
        self.steps -= 1 + weight // BYTES_PER_STEP
        if self.steps < 0:
            self.spend(0)
        return value

    def search(self, text: Any, *wanted: Any, backwards: bool = False) -> None:
        """Count a search. Python compares every character of what it looks for, at worst, or the first hundred."""
        if isinstance(text, str):
            longest = max((len(value) for value in wanted if isinstance(value, str)), default=1)
            self.spend(len(text) * (longest if backwards else min(longest, 100)) // BYTES_PER_STEP)

    def made(self, value: T) -> T:
        """Count a new value."""
        weight = sys.getsizeof(value) if type(value) is str else self.weight(value)
        if weight > self.largest:
            self.expect(weight)
        if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
            raise Exceeded("its numbers grow without bound")
        self.memory -= sys.getsizeof(value, 64)
        if self.memory < 0:
            raise Exceeded("it uses more memory than a conversation of this length can need")
        return value

    def weight(self, value: Any) -> int:
        """Bytes of a value if what it holds were copied wherever it is held: about what writing it out takes.

        Without this measure thirty lists, each of which holds the one before twice, would be a text of a gigabyte.
        Containers never change in a template, so each is weighed once and kept, which keeps its id its own.
        """
        if type(value) in _PLAIN or isinstance(value, str):
            return sys.getsizeof(value)
        if not isinstance(value, list | tuple | dict | set | frozenset):
            return self._weight_of_others(value)
        if (known := self._known.get(id(value))) is not None:
            return known[1]
        self.steps -= len(value)
        total = sys.getsizeof(value)
        for item in value:
            total += self.weight(item)
        if isinstance(value, dict):
            for item in value.values():
                total += self.weight(item)
        self._known[id(value)] = value, total
        return total

    def _weight_of_others(self, value: Any) -> int:
        if isinstance(value, range):
            return 64 + 36 * len(value)
        if isinstance(value, _VIEWS):
            return 64 + sum(self.weight(k) + self.weight(v) for k, v in value.mapping.items())
        return 64  # a generator, a loop, a namespace: what comes out of it is counted then


CURRENT: ContextVar[Budget] = ContextVar("template budget")
"""The budget of the rendering that runs in this thread."""
