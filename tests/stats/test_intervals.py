"""Intervals by bootstrap over pairs: what they are, and how often they cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, ttest_rel

from localprobe.stats.intervals import Area, Interval, Intervals, auroc_interval, bootstrap, bracketed
from localprobe.stats.intervals import area as area_of

Array = NDArray[np.float64]


def scores(
    area: float, *, pairs: int, sets: int = 1, correlation: float = 0.0, ratio: float = 1.0, seed: int = 0
) -> tuple[Array, Array]:
    """Scores (pairs, sets) of both poles, normal, whose true AUROC is `area`. The texts of a pair correlate, and the
    positive ones spread `ratio` times as far."""
    random = np.random.default_rng(seed)
    shared, *own = random.standard_normal((3, pairs, sets))
    negative, positive = (correlation**0.5 * shared + (1 - correlation) ** 0.5 * each for each in own)
    return ratio * positive + norm.ppf(area) * (1 + ratio**2) ** 0.5, negative


def coverage(found: tuple[Intervals, ...], measure: str, truth: float) -> float:
    ends = np.array([getattr(each, measure) for each in found])
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


def within(found: Interval, low: tuple[float, float], high: float) -> None:
    assert low[0] <= found[0] <= low[1]
    assert found[1] == pytest.approx(high, abs=1e-6)


def test_a_perfect_result_on_15_pairs_is_not_certain() -> None:
    positive, negative = np.arange(15.0)[:, None] + 100, np.arange(15.0)[:, None]
    found = bootstrap(positive, negative, np.array([50.0]))[0]
    within(found.auroc, (0.88, 0.93), 1.0)
    within(found.accuracy, (0.86, 0.93), 1.0)
    within(auroc_interval(positive[:, 0], negative[:, 0]), (0.88, 0.93), 1.0)


@pytest.mark.filterwarnings("error")
def test_one_pair_has_no_interval() -> None:
    assert area_of(np.array([2.0]), np.array([1.0])) == Area(1.0, None)
    assert bracketed(1.0, None) == "1.00"
    two = area_of(np.array([2.0, 3.0]), np.array([1.0, 0.0]))
    assert two.interval == auroc_interval(np.array([2.0, 3.0]), np.array([1.0, 0.0]))


def test_a_perfect_result_is_surer_with_more_pairs() -> None:
    lows = []
    for pairs in (5, 15, 50, 200):
        spread = np.linspace(0, 1, pairs)
        lows.append(auroc_interval(spread + 2, spread)[0])
    assert lows == sorted(lows)
    assert lows[0] < 0.75
    assert lows[-1] > 0.985


def test_a_result_that_is_wholly_wrong_mirrors_one_that_is_right() -> None:
    random = np.random.default_rng(0)
    positive, negative = random.standard_normal((2, 20)) + np.array([[1.0], [0.0]])
    there, back = auroc_interval(positive, negative), auroc_interval(negative, positive)
    np.testing.assert_allclose(there, (1 - back[1], 1 - back[0]), atol=1e-6)


def test_intervals_hold_what_was_seen() -> None:
    for area in (0.3, 0.8, 0.97):
        positive, negative = scores(area, pairs=12, sets=30, seed=4)
        found = bootstrap(positive, negative, np.zeros(30))
        for b, each in enumerate(found):
            wins = (positive[:, None, b] > negative[None, :, b]).mean()
            right = ((positive[:, b] > 0).mean() + (negative[:, b] <= 0).mean()) / 2
            assert each.auroc[0] <= wins <= each.auroc[1]
            assert each.accuracy[0] <= right <= each.accuracy[1]
            assert each.separation[0] <= (positive - negative)[:, b].mean() <= each.separation[1]
            assert each.std_positive[0] <= positive[:, b].std() <= each.std_positive[1]
            assert all(np.isfinite(ends).all() and 0 <= ends[0] <= ends[1] <= 1 for ends in (each.auroc, each.accuracy))


def test_the_same_seed_gives_the_same_intervals() -> None:
    poles = scores(0.8, pairs=15)
    assert bootstrap(*poles, np.zeros(1), seed=3) == bootstrap(*poles, np.zeros(1), seed=3)
    assert bootstrap(*poles, np.zeros(1), seed=3) != bootstrap(*poles, np.zeros(1), seed=4)


def test_pairs_that_move_together_give_a_narrower_interval() -> None:
    """Resampling texts rather than pairs would not see it."""
    alone = bootstrap(*scores(0.8, pairs=40, sets=50), np.zeros(50))
    together = bootstrap(*scores(0.8, pairs=40, sets=50, correlation=0.8), np.zeros(50))
    for measure in ("auroc", "separation"):
        widths = [np.mean(np.diff([getattr(each, measure) for each in found])) for found in (alone, together)]
        assert widths[1] < 0.8 * widths[0]


def test_separation_is_near_the_paired_t_interval_of_scipy() -> None:
    positive, negative = scores(0.8, pairs=15)
    expected = ttest_rel(positive[:, 0], negative[:, 0]).confidence_interval(0.95)
    found = bootstrap(positive, negative, np.zeros(1), resamples=20_000)[0].separation
    np.testing.assert_allclose(found, expected, atol=0.15 * (expected.high - expected.low))


def test_accuracy_of_independent_texts_is_near_wilsons_interval_of_scipy() -> None:
    positive = np.repeat([1.0, -1.0], [24, 6])[:, None]
    negative = np.tile([-1.0, -1.0, -1.0, -1.0, 1.0], 6)[:, None]
    expected = binomtest(48, 60).proportion_ci(method="wilson")
    np.testing.assert_allclose(bootstrap(positive, negative, np.zeros(1))[0].accuracy, expected, atol=0.02)


def test_scores_that_do_not_vary_and_two_pairs_give_numbers() -> None:
    flat = bootstrap(np.ones((5, 1)), np.zeros((5, 1)), np.array([0.5]))[0]
    assert flat.std_positive == (0.0, 0.0)
    assert flat.separation == (1.0, 1.0)
    few = bootstrap(np.array([[2.0], [3.0]]), np.array([[1.0], [0.0]]), np.array([1.5]))[0]
    assert all(np.isfinite(getattr(few, name)).all() for name in Intervals.__slots__)
    assert few.auroc[0] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("correlation", "ratio"), [(0.0, 1.0), (0.5, 1.0), (0.8, 1.0), (0.0, 2.0)])
def test_a_planted_auroc_of_08_with_30_pairs_is_covered(correlation: float, ratio: float) -> None:
    sets = 2000
    poles = scores(0.8, pairs=30, sets=sets, correlation=correlation, ratio=ratio, seed=1)
    assert 0.92 <= coverage(bootstrap(*poles, np.zeros(sets), resamples=1000), "auroc", 0.8) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("area", "pairs"), [(0.6, 15), (0.9, 15), (0.95, 15), (0.99, 15), (0.95, 60)])
def test_other_aurocs_are_covered_too_up_to_the_edge(area: float, pairs: int) -> None:
    sets = 2000
    poles = scores(area, pairs=pairs, sets=sets, correlation=0.3, seed=2)
    assert 0.92 <= coverage(bootstrap(*poles, np.zeros(sets), resamples=500), "auroc", area) <= 0.985


@pytest.mark.slow
def test_accuracy_separation_and_spread_are_covered() -> None:
    sets, area = 2000, 0.9
    positive, negative = scores(area, pairs=20, sets=sets, correlation=0.4, seed=3)
    separation = norm.ppf(area) * 2**0.5
    found = bootstrap(positive, negative, np.full(sets, separation / 2), resamples=500)
    assert 0.92 <= coverage(found, "accuracy", norm.cdf(separation / 2)) <= 0.985
    assert 0.92 <= coverage(found, "separation", separation) <= 0.98
    assert 0.92 <= coverage(found, "std_positive", 1.0) <= 0.98
    assert 0.92 <= coverage(found, "std_negative", 1.0) <= 0.98
