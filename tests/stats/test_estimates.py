"""Means and their intervals."""

from __future__ import annotations

from math import exp, inf, log

import numpy as np
import pytest
from scipy.stats import ttest_ind

from localprobe.stats.estimates import Mean, bounded_exp, geometric_ratio, mean


def test_a_mean_has_students_interval() -> None:
    assert mean([None, None]) is None
    assert mean([2.0]) == Mean(2.0, None, None, 1)
    assert mean([1.0, 2.0, 3.0, None]) == Mean(
        2.0,
        pytest.approx(2.0 - 4.302653 / np.sqrt(3)),  # type: ignore[arg-type]
        pytest.approx(2.0 + 4.302653 / np.sqrt(3)),  # type: ignore[arg-type]
        3,
    )


def test_a_ratio_has_welchs_interval() -> None:
    ours, others = [1.0, 1.5, 2.5, 2.0], [0.5, 0.7, 0.4]
    ratio = geometric_ratio(ours, others)
    assert ratio is not None and ratio.interval is not None
    assert ratio.value == pytest.approx(exp(np.mean(ours) - np.mean(others)))
    expected = ttest_ind(ours, others, equal_var=False).confidence_interval(0.95)
    assert [log(end) for end in ratio.interval] == pytest.approx([expected.low, expected.high])
    assert ratio.of == 4


def test_a_ratio_of_single_values_has_no_interval_and_one_of_nothing_is_none() -> None:
    assert geometric_ratio([1.0], [1.0]) == Mean(1.0, None, None, 1)
    assert geometric_ratio([], [1.0]) is geometric_ratio([1.0], []) is None


def test_a_huge_ratio_stays_finite() -> None:
    assert bounded_exp(1e6) < inf
