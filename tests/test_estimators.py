"""Probes as scikit-learn estimators."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from localprobe.estimators import LDA, PCA, Logistic, MeanDifference
from localprobe.probing.methods import METHODS, fit_layer
from tests.probing.planted import planted

ESTIMATORS = {"mean-difference": MeanDifference, "logistic": Logistic, "pca": PCA, "lda": LDA}


@pytest.mark.slow  # two hundred checks
@parametrize_with_checks([estimator() for estimator in ESTIMATORS.values()])
def test_scikit_learn_accepts_it(estimator, check) -> None:  # type: ignore[no-untyped-def]
    check(estimator)


@pytest.mark.parametrize("method", METHODS)
def test_the_direction_is_that_of_the_method_of_the_same_name(method: str) -> None:
    positive, negative, _ = planted([2.0], pairs=40, width=96)
    direction, norm, threshold = fit_layer(positive[:, 0], negative[:, 0], METHODS[method])
    residuals = np.concatenate([positive[:, 0], negative[:, 0]])
    probe = ESTIMATORS[method]().fit(residuals, [1] * 40 + [0] * 40)
    assert probe.direction_ @ direction == pytest.approx(1, abs=1e-6)
    assert (probe.norm_, probe.threshold_) == pytest.approx((norm, threshold), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_classes_of_unequal_size_find_what_is_planted(method: str) -> None:
    positive, negative, directions = planted([6.0], pairs=200, width=16)
    residuals = np.concatenate([positive[:50, 0], negative[:, 0]])
    probe = ESTIMATORS[method]().fit(residuals, ["kind"] * 50 + ["cold"] * 200)
    assert list(probe.classes_) == ["cold", "kind"]
    # Standardising shrinks the dimensions that the concept itself spreads, so two methods turn a little away from it.
    assert probe.direction_ @ directions[0] > (0.97 if method in ("mean-difference", "pca") else 0.85)
    assert probe.score(residuals, ["kind"] * 50 + ["cold"] * 200) > 0.98


def test_it_goes_into_pipelines_cross_validation_and_grid_search() -> None:
    positive, negative, _ = planted([3.0], pairs=40, width=12)
    residuals, labels = np.concatenate([positive[:, 0], negative[:, 0]]), [1] * 40 + [0] * 40
    pipeline = make_pipeline(FunctionTransformer(), MeanDifference())
    assert cross_val_score(pipeline, residuals, labels, scoring="roc_auc").mean() > 0.9
    search = GridSearchCV(Logistic(), {"C": [0.1, 1.0]}).fit(residuals, labels)
    assert search.best_params_["C"] in (0.1, 1.0)
    assert clone(Logistic(C=2.0)).C == 2.0


def test_three_classes_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="The labels have 3 classes: give two"):
        MeanDifference().fit(np.eye(6), [0, 0, 1, 1, 2, 2])
