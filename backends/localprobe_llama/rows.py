"""The rows of a stream, and where the cache holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from localprobe.engine import Prompt, Sampler, Steering
from localprobe_llama.steering import effective


@dataclass(slots=True)
class DecodedRow:
    """A row being decoded."""

    sequence: int
    """Its sequence number in the cache."""
    length: int
    """Number of positions in the cache."""
    limit: int
    steering: Steering
    sampler: Sampler
    top: int
    """How many of the most likely tokens its steps list."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Positions that a cache holds: their sequence number, and how many they are."""

    sequence: int
    length: int = 0


def rows_of(prompts: Sequence[Prompt], places: Sequence[Kept], room: int) -> Iterator[DecodedRow]:
    """The rows of prompts; `places` are what the cache holds of each, copies counted."""
    free = iter(places)
    for prompt in prompts:
        steering = effective(prompt.steering)
        for _ in range(prompt.copies):
            place = next(free)
            yield DecodedRow(place.sequence, place.length, len(prompt.ids) + room, steering, prompt.sampler, prompt.top)
