"""Two things timed in turn, so that whatever else the machine does touches both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PROMPT = "Write a long story about a lighthouse keeper and the sea."


def interleaved(
    ours: Callable[[], float | None], other: Callable[[], float | None], rounds: int = 7
) -> tuple[float, float]:
    """Median seconds of each, after one run of each to warm up. A callable may return its own seconds a unit."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 1):
        for place, call in enumerate((ours, other) if i % 2 else (other, ours)):
            start = time.perf_counter()
            own = call()
            spent = own if own is not None else time.perf_counter() - start
            if i:
                times[place if i % 2 else 1 - place].append(spent)
    return statistics.median(times[0]), statistics.median(times[1])


def row(measure: str, ours: float, other: float, units: float, unit: str, goal: float | None) -> dict[str, Any]:
    """A result: both as `units` a second, and how many times faster ours is; without a goal it only tells."""
    return {
        "measure": measure,
        "ours": units / ours,
        "other": units / other,
        "unit": unit,
        "ratio": other / ours,
        "goal": goal,
    }


def limit(measure: str, ours: float, other: float, unit: str, most: float | None = None) -> dict[str, Any]:
    """A result where less is better: ours as a multiple of the other, which may be `most`; None only tells."""
    found = {"measure": measure, "ours": ours, "other": other, "unit": unit, "ratio": ours / other}
    return found if most is None else {**found, "most": most}


def random_rows(rows: int, length: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    """Rows of ids of one length, (rows, length) int32, so that padding plays no part."""
    return np.random.default_rng(seed).integers(100, vocabulary - 100, (rows, length)).astype(np.int32)
