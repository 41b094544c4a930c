"""Thresholds that have a known false-positive rate, as they are kept with a direction.

`localprobe.probing.calibration` measures them, `localprobe.vectors.calibration` finds the one of a vector. A score is
the dot product of a residual with the unit direction, as `localprobe steer` prints it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from localprobe.errors import UsageError
from localprobe.stats.rates import Rate

if TYPE_CHECKING:
    from localprobe.engine import Info

Unit: TypeAlias = Literal["token", "text"]
"""What is scored: a token, or the mean over the tokens of a text or answer."""
Kind: TypeAlias = Literal["texts", "answers"]
"""What the neutral tokens were: those of plain texts, or of the model's own answers to neutral questions."""
LARGEST = 0.5
"""The largest false-positive rate that there are thresholds for."""


@dataclass(frozen=True, slots=True)
class Knot:
    """The threshold at one number of tokens, in residual units, with its 95 % interval."""

    tokens: int
    """Number of scored tokens that the mean is taken over; 1 for the threshold of a token."""
    threshold: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LengthRate:
    """The false-positive rate among texts of some lengths."""

    least: int
    """Scored tokens of the shortest of them."""
    most: int | None
    """Of the longest; None for no limit."""
    rate: Rate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds of one direction for one false-positive rate."""

    fpr: float
    """The false-positive rate on neutral texts that was asked for, in (0, LARGEST]."""
    unit: Unit
    kind: Kind
    knots: tuple[Knot, ...]
    """Ascending in tokens: one for unit `token`; several for `text`, as the mean of few tokens is more spread."""
    rate: Rate
    """The share of the neutral tokens or texts above the threshold; its interval is that of the rate on new ones."""
    lengths: tuple[LengthRate, ...]
    """That share by the length of the texts."""
    true_positive: Rate | None
    """Share of the tokens or texts of the positive pole above the threshold, on pairs that the probe was not fitted on;
    None if no such pairs are known."""
    negative: Rate | None
    """The same of the negative pole."""
    texts: int
    """Number of neutral texts or answers."""
    tokens: int
    """Number of their scored tokens."""
    source: str
    """The set or file of the texts, or of the questions that were answered."""
    sha256: str
    """Of the texts or questions."""
    positives: str
    """The set or file of the pairs of `true_positive`; empty for none."""
    model: str
    weights: str
    """Hash of the weights that were scored."""
    engine: str
    version: str

    def __post_init__(self) -> None:
        """ValueError for values that are no calibration: they come from files."""
        numbers = [value for knot in self.knots for value in (knot.threshold, knot.low, knot.high)]
        lengths = [knot.tokens for knot in self.knots]
        if not 0 < self.fpr <= LARGEST or not numbers or not all(map(math.isfinite, numbers)):
            raise ValueError(f"calibration for fpr {self.fpr} with thresholds {numbers}")
        if lengths != sorted(set(lengths)) or lengths[0] < 1:
            raise ValueError(f"calibration at {lengths} tokens")

    def at(self, tokens: int | None = None) -> float:
        """The threshold of a token, or of the mean score of so many tokens: between two knots, linear in the logarithm
        of the number of tokens; outside them, that of the nearest. UsageError for unit `text` without a number."""
        return interpolated([(knot.tokens, knot.threshold) for knot in self.knots], self._length(tokens))

    def interval(self, tokens: int | None = None) -> tuple[float, float]:
        """The 95 % interval of `at`."""
        length = self._length(tokens)
        low = interpolated([(knot.tokens, knot.low) for knot in self.knots], length)
        return low, interpolated([(knot.tokens, knot.high) for knot in self.knots], length)

    def _length(self, tokens: int | None) -> int:
        if self.unit == "token":
            return 1
        if tokens is None or tokens < 1:
            raise UsageError(f"`tokens` is {tokens}: say over how many tokens the mean is taken, at least 1")
        return tokens

    @property
    def key(self) -> tuple[float, str, str]:
        """What a newer calibration of the same direction replaces."""
        return self.fpr, self.unit, self.kind

    def notice(self, name: str, info: Info) -> str:
        """A line for the user if it was measured on other weights than the model's; else empty."""
        if self.weights == info.weights:
            return ""
        return (
            f"the thresholds of vector {name!r} were calibrated on other weights ({self.model} on {self.engine}) than "
            f"those of {info.model} on {info.engine}: run localprobe calibrate on this model for its own"
        )


def interpolated(points: list[tuple[int, float]], tokens: float) -> float:
    """The value at a number of tokens between points (tokens, value), linear in the logarithm of the tokens."""
    for (left, before), (right, after) in pairwise(points):
        if tokens <= right:
            share = math.log(max(tokens, left) / left) / math.log(right / left)
            return before + share * (after - before)
    return points[-1][1] if tokens > points[0][0] else points[0][1]


def check_fpr(fpr: float) -> None:
    """UsageError for a false-positive rate outside (0, LARGEST]."""
    if not 0 < fpr <= LARGEST:
        raise UsageError(f"`fpr` is {fpr:g}: give a false-positive rate above 0 and at most {LARGEST}")


def merged(old: Iterable[Calibration], new: Iterable[Calibration]) -> tuple[Calibration, ...]:
    """Both, the new ones in place of old ones with the same key; ordered by rate, kind and unit."""
    both = {c.key: c for c in old} | {c.key: c for c in new}
    return tuple(sorted(both.values(), key=lambda c: (c.fpr, c.kind, c.unit != "token")))
