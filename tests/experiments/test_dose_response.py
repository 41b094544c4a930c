"""Slopes, monotonicity, wrong ways, the usable range and asymmetry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, spearmanr

from localprobe.experiments.curves import Condition, curves
from localprobe.experiments.dose_response import dose_response, usable_range
from localprobe.stats.rates import rate
from tests.experiments.planted import outcomes_of

RISING = {-10.0: (0, 4), -5.0: (1, 4), 0.0: (2, 4), 5.0: (3, 4), 10.0: (4, 4)}
FALLING = {-alpha: counts for alpha, counts in RISING.items()}
FLAT = dict.fromkeys(RISING, (2, 4))


def condition(alpha: float, usable: int, samples: int = 4) -> Condition:
    none, whole = rate(0, samples), rate(usable, samples)
    return Condition(alpha, samples=samples, rate=none, coherent=whole, degenerate=none, fooled=0)


def test_a_line_by_hand() -> None:
    found = dose_response(curves(outcomes_of(RISING)))
    assert found.slope.value == pytest.approx(0.05)
    assert found.monotonicity.value == pytest.approx(1)
    assert (found.wrong_way.count, found.wrong_way.of) == (0, 1)
    assert found.up is not None and found.up.value == pytest.approx(0.375)
    assert found.down is not None and found.down.value == pytest.approx(0.375)
    assert found.asymmetry is not None and found.asymmetry.value == pytest.approx(0)


def test_slope_and_monotonicity_are_scipys() -> None:
    rates = {-20.0: (1, 5), -3.0: (0, 5), 0.0: (2, 5), 1.0: (2, 5), 7.0: (5, 5), 20.0: (3, 5)}
    found = dose_response(curves(outcomes_of(rates)))
    alphas, seen = list(rates), [k / n for k, n in rates.values()]
    assert found.slope.value == pytest.approx(linregress(alphas, seen).slope)
    assert found.monotonicity.value == pytest.approx(spearmanr(alphas, seen).statistic)


def test_nothing_that_changes_has_no_trend_but_still_an_interval() -> None:
    found = dose_response(curves(outcomes_of(FLAT)))
    assert found.slope.value == pytest.approx(0)
    assert found.monotonicity.value == 0
    assert found.wrong_way.count == 0
    low, high = found.slope.interval
    assert low < 0 < high


def test_a_condition_where_all_samples_agree_has_some_chance_in_it() -> None:
    found = dose_response(curves(outcomes_of(dict.fromkeys(RISING, (4, 4)))))
    low, high = found.slope.interval
    assert low < 0 < high


def test_more_samples_narrow_the_interval_around_the_same_slope() -> None:
    few = dose_response(curves(outcomes_of(RISING)))
    many = dose_response(curves(outcomes_of(RISING) * 16))
    assert many.slope.value == pytest.approx(few.slope.value)
    assert np.ptp(many.slope.interval) < np.ptp(few.slope.interval) / 2
    for found in (few, many):
        assert found.slope.interval[0] <= found.slope.value <= found.slope.interval[1]


def test_the_interval_of_a_line_lies_above_0_and_that_of_its_mirror_below() -> None:
    assert dose_response(curves(outcomes_of(RISING))).slope.interval[0] > 0
    mirrored = dose_response(curves(outcomes_of(FALLING)))
    assert mirrored.slope.interval[1] < 0
    assert mirrored.wrong_way.share == 1


def test_several_curves_are_a_mean_of_which_some_go_the_wrong_way() -> None:
    seen = [
        *outcomes_of(RISING, scenario="a"),
        *outcomes_of(FALLING, scenario="b"),
        *outcomes_of(FLAT, scenario="c"),
        *outcomes_of(RISING, scenario="d"),
    ]
    found = dose_response(curves(seen))
    assert found.slope.value == pytest.approx(0.05 / 4)
    assert found.monotonicity.value == pytest.approx(1 / 4)
    assert (found.wrong_way.count, found.wrong_way.of) == (1, 4)
    assert found.slope.interval[0] < 0 < found.slope.interval[1]  # with other prompts it could go the other way


def test_figures_that_have_bounds_keep_to_them() -> None:
    found = dose_response(curves(outcomes_of({-5: (0, 2), 0: (1, 2), 5: (2, 2)})))
    for estimate, limit in ((found.monotonicity, 1), (found.up, 1), (found.asymmetry, 2)):
        assert estimate is not None
        assert -limit <= estimate.low <= estimate.high <= limit


def test_the_same_seed_gives_the_same_intervals_in_any_order() -> None:
    seen = [*outcomes_of(RISING, scenario="a"), *outcomes_of(FLAT, scenario="b")]
    assert dose_response(curves(seen)) == dose_response(curves(reversed(seen)))
    assert dose_response(curves(seen), seed=1) != dose_response(curves(seen))


def test_asymmetry_is_of_strengths_that_are_there_both_ways() -> None:
    seen = outcomes_of({-5: (2, 4), 0: (2, 4), 5: (4, 4), 20: (0, 4)})
    found = dose_response(curves(seen))
    values = [estimate and estimate.value for estimate in (found.up, found.down, found.asymmetry)]
    assert values == pytest.approx([0.5, 0, 0.5])


def test_no_asymmetry_without_opposites() -> None:
    found = dose_response(curves(outcomes_of({-3: (2, 4), 0: (2, 4), 5: (4, 4)})))
    assert found.up is found.down is found.asymmetry is None


@pytest.mark.parametrize(
    ("usable", "expected"),
    [
        ({-10: 4, -5: 4, 0: 4, 5: 4, 10: 4}, (-10, 10)),
        ({-10: 0, -5: 3, 0: 4, 5: 2, 10: 4}, (-5, 0)),  # 2 of 4 is not most; 10 lies beyond what fails
        ({-10: 4, -5: 0, 0: 4, 5: 4, 10: 0}, (0, 5)),
        ({-10: 4, 0: 2, 10: 4}, None),
        ({0: 3, 10: 0}, (0, 0)),
    ],
)
def test_the_usable_range_is_contiguous_from_0(usable: dict[float, int], expected: tuple[float, float] | None) -> None:
    assert usable_range(condition(alpha, count) for alpha, count in usable.items()) == expected


def test_the_usable_range_of_several_prompts_is_that_of_their_samples_together() -> None:
    conditions = [
        condition(0, 4),
        condition(0, 4),
        condition(5, 4),
        condition(5, 1),
        condition(-5, 4),
        condition(-5, 0),
    ]
    assert usable_range(conditions) == (0, 5)


def test_degenerate_texts_are_not_usable_though_coherent() -> None:
    seen = [
        *outcomes_of({0: (2, 4), 5: (4, 4)}),
        *outcomes_of({10: (4, 4)}, coherent=True, reasons=("one phrase over and over",)),
    ]
    assert dose_response(curves(seen)).usable == (0, 5)


def test_layers_that_borrow_one_baseline_share_its_chance() -> None:
    shared = [*outcomes_of({0: (5, 10)}, layer=None)]
    for layer in range(8):
        shared += outcomes_of({-5: (50, 100), 5: (50, 100)}, layer=layer)
    own = [each for layer in range(8) for each in outcomes_of({0: (5, 10), -5: (50, 100), 5: (50, 100)}, layer=layer)]
    widths = []
    for seen in (shared, own):
        asymmetry = dose_response(curves(seen)).asymmetry
        assert asymmetry is not None
        widths.append(asymmetry.high - asymmetry.low)
    assert widths[0] > 1.5 * widths[1]
