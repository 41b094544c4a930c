"""Two probes on the same texts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from localprobe.errors import DataError
from localprobe.probing.comparison import direction_agreement, score_agreement


def poles(seed: int, pairs: int = 30, gap: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (
        (random.standard_normal(pairs) + gap).astype(np.float32),
        random.standard_normal(pairs).astype(np.float32),
    )


def test_the_coefficients_are_those_of_scipy() -> None:
    first, second = poles(0), poles(1)
    found = score_agreement(first, second, resamples=200)
    both = np.concatenate(first), np.concatenate(second)
    assert found.pearson.value == pytest.approx(pearsonr(*both).statistic, abs=1e-6)
    assert found.spearman.value == pytest.approx(spearmanr(*both).statistic, abs=1e-6)


def test_probes_that_agree_on_the_poles_alone_do_not_agree_within_them() -> None:
    found = score_agreement(poles(0), poles(1), resamples=500)
    assert found.pearson.value is not None and found.pearson.value > 0.7
    assert found.within_poles.interval is not None
    assert found.within_poles.interval[0] < 0 < found.within_poles.interval[1]


def test_a_probe_agrees_with_itself_at_any_scale() -> None:
    high, low = poles(0)
    found = score_agreement((high, low), (3 * high - 1, 3 * low - 1), resamples=100)
    for likeness in (found.pearson, found.spearman, found.within_poles):
        assert likeness.value == pytest.approx(1)
        assert likeness.interval == pytest.approx((1, 1))


def test_scores_that_do_not_vary_have_no_correlation() -> None:
    flat = np.zeros(5, np.float32)
    assert score_agreement((flat, flat), poles(0, 5), resamples=10).pearson.value is None


def test_other_texts_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="scores of 5 and of 6 pairs"):
        score_agreement(poles(0, 5), poles(0, 6))


def test_directions_of_one_model_have_cosines_and_those_of_two_have_none() -> None:
    directions = np.eye(4, dtype=np.float32)[:2]
    assert direction_agreement(directions, directions[::-1]) == (0, 0)
    assert direction_agreement(directions, directions[:, :3]) is None
