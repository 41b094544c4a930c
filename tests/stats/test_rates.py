"""Shares and their intervals."""

from __future__ import annotations

import pytest

from localprobe.stats.rates import grouped_rate, rate


def test_wilson_by_the_published_example() -> None:
    # 81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17:857, table I)
    found = rate(81, 263)
    assert found.share == pytest.approx(0.3080, abs=5e-5)
    assert found.interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_interval_of_all_or_none_holds_it_and_is_no_point() -> None:
    assert rate(0, 5).interval == pytest.approx((0, 0.4345), abs=5e-5)
    assert rate(5, 5).interval == pytest.approx((0.5655, 1), abs=5e-5)


def test_groups_that_agree_within_widen_the_interval() -> None:
    alike = grouped_rate([(4, 4), (0, 4), (4, 4), (0, 4)])
    mixed = grouped_rate([(2, 4), (2, 4), (2, 4), (2, 4)])
    assert alike.share == mixed.share == 0.5
    assert mixed.interval == rate(8, 16).interval
    # 16 / design effect of (1/4 / 4 * 4/3) / (1/4 / 16) = 16/3, so as 3 independent things
    assert alike.interval == pytest.approx((0.1250, 0.8750), abs=0.001)


def test_one_group_is_taken_as_independent_things() -> None:
    assert grouped_rate([(3, 9)]) == rate(3, 9)


@pytest.mark.parametrize("of", [1, 3, 7, 49, 1000, 99991])
def test_the_count_comes_back_from_the_share(of: int) -> None:
    counts = range(0, of + 1, max(1, of // 50))
    assert [rate(count, of).count for count in counts] == list(counts)
