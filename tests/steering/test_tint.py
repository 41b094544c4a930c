"""The tint of tokens."""

from __future__ import annotations

import math

import pytest

from localprobe.steering.tint import HIGH, LOW, OPACITY, strengths


def test_strengths_are_0_at_the_midpoint_and_full_at_the_reach() -> None:
    assert strengths([1.0, 2.0, 0.5, 9.0, -9.0, math.nan], midpoint=1.0, reach=2.0) == [0.0, 0.5, -0.25, 1.0, -1.0, 0.0]


def test_without_a_reach_the_score_that_is_furthest_out_is_full() -> None:
    assert strengths([2.0, -4.0]) == [0.5, -1.0]
    assert strengths([0.0]) == [0.0]
    assert strengths([]) == []


@pytest.mark.parametrize("colour", [HIGH, LOW])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (17, 255)])
def test_text_stays_readable_on_the_strongest_tint(colour: str, paper: int, ink: int) -> None:
    """A contrast of 4.5 is what WCAG asks of text."""
    behind = luminance(tuple(OPACITY * c + (1 - OPACITY) * paper for c in bytes.fromhex(colour[1:])))
    text = luminance((ink, ink, ink))
    assert (max(behind, text) + 0.05) / (min(behind, text) + 0.05) > 4.5


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an sRGB colour, as WCAG defines it."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
