"""The choices of a probe."""

from __future__ import annotations

from math import nan

import pytest

from localprobe.errors import UsageError
from localprobe.probing.config import ProbeConfig


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("test_fraction", -0.1, "`test_fraction` must be at least 0 and below 1, not -0.1"),
        ("test_fraction", 1.0, "`test_fraction` must be at least 0 and below 1, not 1.0"),
        ("test_fraction", nan, "`test_fraction` must be at least 0 and below 1, not nan"),
        ("resamples", 0, "`resamples` must be at least 1, not 0"),
        ("permutations", 0, "`permutations` must be at least 1, not 0"),
        ("random_directions", -5, "`random_directions` must be at least 1, not -5"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ProbeConfig(**{name: value})  # type: ignore[arg-type]


def test_the_ends_of_the_ranges_are_taken() -> None:
    config = ProbeConfig(test_fraction=0, resamples=1, permutations=1, random_directions=1)
    assert config.test_fraction == 0


def test_the_first_token_is_left_out_of_the_mean_unless_asked_for() -> None:
    assert ProbeConfig().pooling == "mean-without-first"
