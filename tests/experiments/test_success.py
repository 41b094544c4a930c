"""Success rates, counted and with intervals."""

from __future__ import annotations

import pytest

from localprobe.experiments.curves import curves
from localprobe.experiments.success import success
from localprobe.stats.rates import grouped_rate, rate
from tests.experiments.planted import outcomes_of


def test_counts_by_hand() -> None:
    seen = [
        # effects -1/4, 0, +1/2, 0: the paper counts three, strictly it is two, one of three is a null effect
        *outcomes_of({-10: (0, 4), -5: (1, 4), 0: (1, 4), 5: (3, 4), 10: (1, 4)}, scenario="food"),
        # a baseline of 1 and no effect anywhere: the paper counts every negative alpha
        *outcomes_of({-10: (4, 4), -5: (4, 4), 0: (4, 4), 5: (4, 4), 10: (4, 4)}, scenario="listener"),
    ]
    found = success(curves(seen))
    assert found.cells == 8
    assert (found.paper.count, found.strict.count) == (5, 2)
    assert (found.paper.share, found.strict.share) == (0.625, 0.25)
    assert (found.null_effects, found.unchanged, found.broken) == (3, 6, 0)
    assert found.raised is not None and (found.raised.count, found.raised.of) == (1, 4)
    assert found.lowered is not None and (found.lowered.count, found.lowered.of) == (1, 4)


def test_a_success_among_broken_texts_is_counted_as_such() -> None:
    seen = [
        *outcomes_of({0: (2, 4), 5: (4, 4)}),
        *outcomes_of({-5: (0, 4)}, coherent=False, reasons=("empty",)),
    ]
    found = success(curves(seen))
    assert (found.strict.count, found.broken) == (2, 1)


def test_one_way_alone() -> None:
    found = success(curves(outcomes_of({0: (1, 2), 5: (2, 2)})))
    assert found.lowered is None
    assert found.raised is not None and found.raised.share == 1


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
