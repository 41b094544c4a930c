"""Correlation with rated behaviour, against scipy and scikit-learn."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from localprobe.errors import DataError
from localprobe.probing.binary import binary
from localprobe.probing.correlate import correlate
from localprobe.stats.intervals import unpaired_auroc_interval

RUBRIC = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
SCORES = np.array([-24, -20, -21, -17, -19, -16, -18, -14, -15, -12, -19.5, -10.0])


def test_coefficients_and_their_theory_are_those_of_scipy() -> None:
    found = correlate(RUBRIC, SCORES, -17.5)
    pearson, spearman = stats.pearsonr(RUBRIC, SCORES), stats.spearmanr(RUBRIC, SCORES)
    assert found.n == 12
    assert (found.pearson.value, found.pearson.p_theory) == pytest.approx((pearson.statistic, pearson.pvalue))
    assert (found.spearman.value, found.spearman.p_theory) == pytest.approx((spearman.statistic, spearman.pvalue))
    assert found.pearson.exact
    assert found.spearman.exact
    assert found.pearson.p == pytest.approx(pearson.pvalue, abs=0.01)


@pytest.mark.parametrize("ratings", [[0, 1, 2, 2, 1, 0, 1], [3, 1, 4, 1.5, 9, 2.6, 5], [0, 0, 0, 0, 0, 0, 1]])
def test_p_is_exact_as_scipys_permutation_test(ratings: list[float]) -> None:
    scores = np.random.default_rng(0).standard_normal(7)
    found = correlate(ratings, scores, 0.0)
    for ours, ranked in ((found.pearson, lambda x: x), (found.spearman, stats.rankdata)):
        x, y = ranked(np.array(ratings)), ranked(scores)
        expected = stats.permutation_test(
            (x,), lambda x, y=y: abs(np.corrcoef(x, y)[0, 1]), permutation_type="pairings", alternative="greater"
        )
        assert ours.p == pytest.approx(expected.pvalue)


def test_p_of_spearman_by_hand() -> None:
    ratings, scores = [1.0, 2.0, 3.0, 4.0, 5.0], np.array([1.0, 2.0, 3.0, 5.0, 4.0])
    ranks = [stats.spearmanr(order, scores).statistic for order in permutations(ratings)]
    expected = np.mean(np.abs(ranks) >= 0.9 - 1e-9)
    assert correlate(ratings, scores, 0.0).spearman.p == pytest.approx(expected)


def test_many_ratings_are_permuted_at_random_and_the_same_each_time() -> None:
    random = np.random.default_rng(1)
    ratings = random.standard_normal(40)
    scores = 0.4 * ratings + random.standard_normal(40)
    found = correlate(ratings.tolist(), scores, 0.0, seed=5)
    assert not found.pearson.exact
    assert found.pearson.p == pytest.approx(stats.pearsonr(ratings, scores).pvalue, abs=0.01)
    assert found == correlate(ratings.tolist(), scores, 0.0, seed=5)


def test_a_scale_turned_around_turns_the_coefficients() -> None:
    there, back = correlate(RUBRIC, SCORES, 0.0), correlate([2 - rating for rating in RUBRIC], SCORES, 0.0)
    assert back.pearson.value == pytest.approx(-there.pearson.value)
    assert back.spearman.p == pytest.approx(there.spearman.p)
    np.testing.assert_allclose(back.pearson.interval, [-there.pearson.interval[1], -there.pearson.interval[0]])


def test_intervals_hold_the_coefficient_and_are_wide_for_twelve_texts() -> None:
    found = correlate(RUBRIC, SCORES, 0.0)
    for each in (found.pearson, found.spearman):
        low, high = each.interval
        assert -1 <= low < each.value < high <= 1
        assert high - low > 0.4
    perfect = correlate([1, 2, 3, 4], np.array([1.0, 2.0, 3.0, 4.0]), 0.0)
    assert perfect.pearson.interval[0] < 1
    assert perfect.pearson.p == pytest.approx(2 / 24)  # the least that four texts can give


def test_binary_metrics_are_those_of_scikit_learn_with_the_middle_left_out() -> None:
    found = correlate(RUBRIC, SCORES, -17.5).binary
    kept = np.array(RUBRIC) != 1
    truth, said = np.array(RUBRIC)[kept] == 2, SCORES[kept] > -17.5
    tn, fp, fn, tp = confusion_matrix(truth, said).ravel()
    assert (found.n, found.left_out) == (8, 4)
    counts = found.true_negative, found.false_positive, found.false_negative, found.true_positive
    assert counts == (tn, fp, fn, tp) == (3, 1, 1, 3)
    assert found.accuracy == pytest.approx(accuracy_score(truth, said))
    assert found.precision == pytest.approx(precision_score(truth, said))
    assert found.recall == pytest.approx(recall_score(truth, said))
    assert found.f1 == pytest.approx(f1_score(truth, said))
    assert found.specificity == pytest.approx(recall_score(~truth, ~said))
    assert found.auroc == pytest.approx(roc_auc_score(truth, SCORES[kept]))


def test_a_threshold_above_all_scores_leaves_precision_undefined() -> None:
    found = correlate(RUBRIC, SCORES, 0.0).binary
    assert found.precision is None
    assert (found.recall, found.f1, found.specificity, found.accuracy) == (0, 0, 1, 0.5)
    assert found.auroc > 0.8


@pytest.mark.parametrize(
    ("ratings", "scores", "message"),
    [
        ([1, 1, 1, 1], [1, 2, 3, 4], "all 4 ratings are 1: constants have no correlation"),
        ([1, 2, 3, 4], [5, 5, 5, 5], "all 4 scores are 5"),
        ([1, 2, 3], [1, 2, 3], "3 rated texts: a correlation takes at least 4"),
        ([1, 2, 3, 4], [1, 2, 3], "4 ratings and 3 scores"),
        ([1, 2, float("nan"), 4], [1, 2, 3, 4], "the ratings of text 3 is not a finite number"),
    ],
)
def test_ratings_that_say_nothing_are_refused(ratings: list[float], scores: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        correlate(ratings, np.array(scores, float), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "truth"), [(0.0, 0.0), (0.6, 0.44), (1.2, 0.70)])
def test_intervals_of_twelve_texts_cover(slope: float, truth: float) -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        scores = slope * np.array(RUBRIC) + random.standard_normal(12)
        low, high = correlate(RUBRIC, scores, 0.0, resamples=300, permutations=1).pearson.interval
        covered += low <= truth <= high
    assert covered / 500 >= 0.93


def test_every_figure_of_table_3_has_an_interval_that_few_texts_leave_wide() -> None:
    found = correlate([0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2], np.arange(11.0), 5.5).binary
    for what in ("accuracy", "precision", "recall", "f1", "specificity", "auroc"):
        low, high = getattr(found, f"{what}_interval")
        assert getattr(found, what) == high == pytest.approx(1)
        assert 0.4 < low < 0.8, what  # perfect, as the paper's is, on 5 and 5 texts
    assert found.accuracy_interval == pytest.approx(stats.binomtest(10, 10).proportion_ci(method="wilson"))


def test_the_interval_of_f1_covers() -> None:
    random = np.random.default_rng(0)
    ratings = np.repeat([0.0, 1.0], 30)
    true = 2 * 0.7 / (2 * 0.7 + 0.2 + 0.3)
    seen = 0
    for _ in range(400):
        called = np.concatenate([random.random(30) < 0.2, random.random(30) < 0.7]).astype(float)
        low, high = binary(ratings, called, 0.5).f1_interval
        seen += low <= true <= high
    assert 0.91 <= seen / 400 <= 0.99


def test_the_unpaired_interval_of_auroc_covers_with_unequal_classes() -> None:
    random = np.random.default_rng(0)
    shift = np.sqrt(2) * stats.norm.ppf(0.8)
    covered = 0
    for _ in range(400):
        high, low = random.standard_normal(8) + shift, random.standard_normal(20)
        area = roc_auc_score(np.repeat([1, 0], [8, 20]), np.concatenate([high, low]))
        ends = unpaired_auroc_interval(float(area), 8, 20)
        covered += ends[0] <= 0.8 <= ends[1]
    assert 0.91 <= covered / 400 <= 0.99
