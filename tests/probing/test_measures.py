"""The measures of Table 1, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from localprobe.probing.measures import measure
from localprobe.stats.auroc import auroc, aurocs

HIGH = np.array([3.0, 2.0, 1.0], np.float32)
LOW = np.array([0.0, 1.0, -1.0], np.float32)


def test_measures_by_hand() -> None:
    found = measure(HIGH, LOW, threshold=0.5)
    assert found.auroc == pytest.approx(8.5 / 9)  # one tie, counted half
    assert found.accuracy == pytest.approx(5 / 6)
    assert found.separation == pytest.approx(2.0)
    assert found.std_positive == found.std_negative == pytest.approx((2 / 3) ** 0.5)  # population


@given(st.lists(st.integers(-5, 5), min_size=1), st.lists(st.integers(-5, 5), min_size=1))
def test_auroc_is_the_chance_to_be_ranked_right(positive: list[int], negative: list[int]) -> None:
    wins = np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])
    assert auroc(np.array(positive, np.float32), np.array(negative, np.float32)) == pytest.approx(wins)


def test_turned_around_it_is_the_complement() -> None:
    assert auroc(HIGH, LOW) == pytest.approx(1 - auroc(LOW, HIGH))


def test_many_at_once_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    positive, negative = random.integers(0, 9, (4, 5, 15)), random.integers(-2, 7, (4, 5, 12))
    labels = np.repeat([1, 0], [15, 12])
    expected = [
        roc_auc_score(labels, np.concatenate(each))
        for each in zip(positive.reshape(20, 15), negative.reshape(20, 12), strict=True)
    ]
    np.testing.assert_allclose(aurocs(positive.astype(float), negative.astype(float)).ravel(), expected)
