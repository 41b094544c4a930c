"""Fitting directions by each method, against what was planted and against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from localprobe.engine import FloatArray
from localprobe.errors import DataError, UsageError
from localprobe.probing import methods
from localprobe.probing.methods import METHODS, fit
from localprobe.probing.span import Array
from tests.probing.planted import planted

# Few texts in many dimensions, many in few, and labels that no plane tells apart.
SHAPES = [(12, 300, 3.0), (150, 12, 1.5), (30, 40, 0.5)]


def cosine(a: FloatArray, b: FloatArray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def texts_and_labels(positive: FloatArray, negative: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.concatenate([positive[:, 0], negative[:, 0]]).astype(np.float64), np.repeat([1, 0], len(positive))


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_direction_is_recovered(method: str) -> None:
    positive, negative, directions = planted([3.0, 4.0, 6.0], pairs=300)
    probe = fit(positive, negative, method)
    assert ((probe.directions * directions).sum(axis=-1) > 0.95).all()
    assert probe.directions.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(probe.directions, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(probe.norms, [3.0, 4.0, 6.0], atol=0.4)


@pytest.mark.parametrize("method", METHODS)
def test_the_positive_pole_scores_higher_and_the_threshold_lies_half_way(method: str) -> None:
    positive, negative, _ = planted([1.0, 1.0], pairs=20, width=50)
    for high, low in ((positive, negative), (negative, positive)):
        probe = fit(high, low, method)
        means = probe.scores(high).mean(axis=0), probe.scores(low).mean(axis=0)
        np.testing.assert_allclose(means[0] - means[1], probe.norms, rtol=1e-4)
        np.testing.assert_allclose((means[0] + means[1]) / 2, probe.thresholds, atol=1e-5)
        np.testing.assert_allclose(probe.positions(high).mean(axis=0), 1, atol=1e-5)
        np.testing.assert_allclose(probe.positions(low).mean(axis=0), 0, atol=1e-5)
        assert (probe.norms > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_poles_that_trade_places_turn_the_direction_around(method: str) -> None:
    positive, negative, _ = planted([1.0], pairs=15, width=40)
    there, back = fit(positive, negative, method), fit(negative, positive, method)
    np.testing.assert_allclose(there.directions, -back.directions, atol=1e-4)


def test_equation_1_on_numbers_that_can_be_done_by_hand() -> None:
    positive = np.array([[[3.0, 4.0]], [[3.0, 4.0]]], np.float32)
    probe = fit(positive, np.zeros_like(positive))
    np.testing.assert_allclose(probe.directions, [[0.6, 0.8]], rtol=1e-6)
    assert probe.norms[0] == pytest.approx(5.0)
    assert probe.thresholds[0] == pytest.approx(2.5)
    np.testing.assert_allclose(probe.scores(positive), [[5.0], [5.0]])


@pytest.mark.parametrize(("pairs", "width", "strength"), SHAPES)
def test_mean_difference_is_the_difference_of_the_means(pairs: int, width: int, strength: float) -> None:
    positive, negative, _ = planted([strength], pairs=pairs, width=width)
    expected = positive.mean(axis=0) - negative.mean(axis=0)
    probe = fit(positive, negative)
    assert probe.norms[0] == pytest.approx(np.linalg.norm(expected), rel=1e-5)
    assert cosine(probe.directions[0], expected[0]) > 1 - 1e-6


@pytest.mark.parametrize(("pairs", "width", "strength"), SHAPES)
def test_logistic_is_that_of_scikit_learn(pairs: int, width: int, strength: float) -> None:
    positive, negative, _ = planted([strength], pairs=pairs, width=width)
    positive[..., 3] *= 500  # a dimension as large as a model's sink
    texts, labels = texts_and_labels(positive, negative)
    scaler = StandardScaler()
    model = LogisticRegression(tol=1e-10, max_iter=10_000).fit(scaler.fit_transform(texts), labels)
    assert cosine(fit(positive, negative, "logistic").directions[0], model.coef_[0] / scaler.scale_) > 1 - 1e-6


@pytest.mark.parametrize(("pairs", "width", "strength"), SHAPES)
def test_pca_is_that_of_scikit_learn_on_the_pair_differences(pairs: int, width: int, strength: float) -> None:
    positive, negative, _ = planted([strength + 2], pairs=pairs, width=width)
    component = TruncatedSVD(1, algorithm="arpack", random_state=0).fit((positive - negative)[:, 0]).components_[0]
    assert abs(cosine(fit(positive, negative, "pca").directions[0], component)) > 1 - 1e-6


@pytest.mark.parametrize(("pairs", "width", "strength"), SHAPES)
def test_lda_is_the_mean_difference_over_the_covariance_that_scikit_learn_shrinks(
    pairs: int, width: int, strength: float
) -> None:
    positive, negative, _ = planted([strength], pairs=pairs, width=width)
    positive[..., 3] *= 500
    texts, labels = texts_and_labels(positive, negative)
    scaled = StandardScaler().fit_transform(texts)
    means = np.stack([scaled[labels == 1].mean(axis=0), scaled[labels == 0].mean(axis=0)])
    within, _ = ledoit_wolf(scaled - means[1 - labels], assume_centered=True)
    expected = np.linalg.solve(within, means[0] - means[1]) / texts.std(axis=0)
    assert cosine(fit(positive, negative, "lda").directions[0], expected) > 1 - 1e-6


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
def test_lda_agrees_with_scikit_learns_own(solver: str) -> None:
    """Its shrinkage is each class's own and ours is shared: with texts enough the two are one."""
    positive, negative, _ = planted([1.5], pairs=400, width=12)
    positive[..., 3] *= 20
    positive, negative = positive @ MIXING, negative @ MIXING
    texts, labels = texts_and_labels(positive, negative)
    scaler = StandardScaler()
    model = LinearDiscriminantAnalysis(solver=solver, shrinkage="auto").fit(scaler.fit_transform(texts), labels)
    assert cosine(fit(positive, negative, "lda").directions[0], model.coef_[0] / scaler.scale_) > 0.999


MIXING = np.random.default_rng(5).standard_normal((12, 12)).astype(np.float32)


def test_lda_and_logistic_see_past_a_large_dimension_that_says_nothing() -> None:
    positive, negative, _ = planted([6.0], pairs=30, width=64)
    loud = 300 * np.random.default_rng(1).standard_normal((2, 30, 1)).astype(np.float32)
    positive[..., 0] += loud[0]
    negative[..., 0] += loud[1]
    fresh = planted([6.0], pairs=30, width=64)[:2]
    for method in ("lda", "logistic"):
        probe = fit(positive, negative, method)
        assert abs(probe.directions[0, 0]) < 0.02
        assert (probe.scores(fresh[0]) > probe.scores(fresh[1])).mean() > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_no_method_works_in_more_dimensions_than_its_texts_span(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a fit on a model of usual size would take minutes."""
    positive, negative, _ = planted([4.0, 4.0], pairs=35, width=4096)
    solved, decomposed = [], []
    eigh = np.linalg.eigh

    def solve(coordinates: Array, signs: Array, width: int) -> Array:
        solved.append(coordinates.shape)
        return METHODS[method].solve(coordinates, signs, width)

    def counted(matrix: Array) -> object:
        decomposed.append(matrix.shape)
        return eigh(matrix)

    monkeypatch.setattr(methods, "method_of", lambda name: replace(METHODS[name], solve=solve))
    monkeypatch.setattr(np.linalg, "eigh", counted)
    fit(positive, negative, method)
    assert solved == [(70, 69)] * 2
    assert set(decomposed) == {(70, 70)}


def test_bad_residuals_are_refused_in_one_line() -> None:
    good = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    broken = good.copy()
    broken[1, 0, 2] = np.nan
    cases = [
        (good[:0], good, "the positive pole has no texts"),
        (good, good[:0], "the negative pole has no texts"),
        (good[:1], good[:1], "1 pair: it takes at least 2"),
        (good, good[:2], "3 positive and 2 negative texts"),
        (good, good[..., :3], r"\(layers, width\) \(2, 4\) and \(2, 3\)"),
        (good, broken, "the negative text of pair 2 has residuals that are NaN or infinite"),
        (good, good, "same mean residual"),
        (good[0], good[0], "not .pairs, layers, width"),
    ]
    for positive, negative, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            fit(positive, negative)
        assert "\n" not in str(caught.value)


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="no method 'svm': there are mean-difference, logistic, pca, lda"):
        fit(np.ones((2, 1, 2), np.float32), np.zeros((2, 1, 2), np.float32), "svm")
