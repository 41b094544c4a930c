"""The permutation test: exact under the null hypothesis, and a repeat of the whole procedure."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.choice import choose_layer
from localprobe.probing.methods import METHODS, fit
from localprobe.probing.permutation import flip_test, permutation_test
from localprobe.probing.span import Span
from localprobe.stats.auroc import auroc
from tests.probing.planted import planted

Poles = tuple[FloatArray, FloatArray]


def halves(strengths: list[float], *, pairs: int, train: int, width: int = 16, seed: int = 0) -> tuple[Poles, Poles]:
    positive, negative, _ = planted(strengths, pairs=pairs, width=width, seed=seed)
    return (positive[:train], negative[:train]), (positive[train:], negative[train:])


@pytest.mark.parametrize("method", METHODS)
def test_its_statistic_is_what_fitting_and_choosing_give(method: str) -> None:
    train, test = halves([0.5, 1.2, 1.0], pairs=40, train=28)
    layer = choose_layer(*train, method=method, seed=2)
    high, low = (fit(*train, method).scores(pole)[:, layer] for pole in test)
    found = permutation_test(train, test, method=method, permutations=20, seed=2)
    assert found.statistic == pytest.approx(auroc(high, low))


@pytest.mark.parametrize("method", METHODS)
def test_a_labelling_is_a_fit_on_pairs_that_trade_places(method: str) -> None:
    """A thousand labellings at once give what one by one gives."""
    from localprobe.probing.choice import cross_validate

    (positive, negative), _ = halves([1.0, 0.4], pairs=20, train=20)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (3, 20))
    together = cross_validate(positive, negative, method=method, signs=signs)
    for row, sign in enumerate(signs):
        traded = sign[:, None, None] > 0
        alone = cross_validate(
            np.where(traded, positive, negative), np.where(traded, negative, positive), method=method
        )
        np.testing.assert_allclose(together[0][row], alone[0][0], atol=1e-9)
        np.testing.assert_allclose(together[1][row], alone[1][0], rtol=1e-3)


def test_a_planted_concept_is_found_and_p_is_never_zero() -> None:
    found = permutation_test(*halves([0.0, 3.0], pairs=40, train=28), permutations=99)
    assert found.p == pytest.approx(0.01)
    assert found.n == 99
    assert found.statistic > 0.95 > found.chance_95


def test_flips_alone_test_a_probe_that_was_fitted_elsewhere() -> None:
    random = np.random.default_rng(0)
    scores = random.standard_normal((2, 15)).astype(np.float32)
    assert flip_test(scores[0] + 3, scores[1], permutations=999).p == pytest.approx(0.001)
    assert flip_test(*scores, permutations=999).p > 0.05


def test_one_training_pair_is_refused() -> None:
    with pytest.raises(DataError, match="1 pair"):
        permutation_test(*halves([1.0], pairs=5, train=1))


def rejections(method: str, sets: int, layers: int = 4) -> float:
    """Share of data sets without any concept in which p is at most 0.05."""
    found = 0
    for seed in range(sets):
        train, test = halves([0.0] * layers, pairs=24, train=16, width=6, seed=seed)
        found += permutation_test(train, test, method=method, permutations=199, seed=seed).p <= 0.05
    return found / sets


@pytest.mark.slow
def test_with_shuffled_labels_it_rejects_as_often_as_it_says() -> None:
    assert 0.03 <= rejections("mean-difference", 1000) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pca", "lda"])
def test_the_other_methods_hold_their_level_too(method: str) -> None:
    assert 0.02 <= rejections(method, 300, layers=2) <= 0.085


def test_texts_are_rotated_into_their_span_once_for_all_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what takes long."""
    train, test = halves([1.0, 1.0, 1.0], pairs=30, train=20)
    spans, of = [], Span.of

    def counted(*poles: FloatArray, standardise: bool) -> Span:
        spans.append(poles)
        return of(*poles, standardise=standardise)

    monkeypatch.setattr(Span, "of", counted)
    permutation_test(train, test, permutations=500)
    folds, layers = 5, 3
    assert folds * layers < len(spans) <= (folds + 1) * layers
