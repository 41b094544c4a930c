"""Probes as scikit-learn estimators, for residuals that are arrays: pipelines, cross-validation, grid search.

    probe = MeanDifference().fit(residuals, labels)         # (texts, width), two classes
    probe.direction_, probe.decision_function(more), probe.score(test, test_labels)

They fit the directions of `localprobe.probing.methods` on any two classes, of equal size or not. `classes_[1]`, the
class that sorts last, is the positive pole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from localprobe.stats.arrays import Array


class _DirectionProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A direction, and the threshold halfway between the two classes' mean projections on it.

    After `fit`: `direction_` (width,) of length 1, along which the positive class scores higher; `norm_`, the distance
    between the two mean projections; `threshold_`, their midpoint; `classes_`; `n_features_in_`.
    """

    def fit(self, X: Any, y: Any) -> _DirectionProbe:  # noqa: N803 (scikit-learn's name)
        """Fit on residuals (texts, width) and labels (texts,) of two classes; returns self. ValueError for others."""
        X, y = validate_data(self, X, y, dtype=np.float64)  # noqa: N806
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            count = f"{len(self.classes_)} class{'' if len(self.classes_) == 1 else 'es'}"
            raise ValueError(f"Only binary classification is supported. The labels have {count}: give two")
        positive, negative = X[labels == 1], X[labels == 0]
        weights = self._direction(positive, negative)
        length = float(np.linalg.norm(weights))
        direction = weights / length if length else weights
        means = float(positive.mean(axis=0) @ direction), float(negative.mean(axis=0) @ direction)
        sign = 1.0 if means[0] >= means[1] else -1.0
        self.direction_ = sign * direction
        self.norm_ = abs(means[0] - means[1])
        self.threshold_ = sign * (means[0] + means[1]) / 2
        return self

    def decision_function(self, X: Any) -> Array:  # noqa: N803
        """Projections of residuals (texts, width) on the direction, less the threshold: (texts,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)  # noqa: N806
        return np.asarray(X @ self.direction_ - self.threshold_)

    def predict(self, X: Any) -> Any:  # noqa: N803
        """The class of each text: the positive one above the threshold."""
        above = self.decision_function(X) > 0
        return self.classes_[above.astype(int)]

    def _direction(self, positive: Array, negative: Array) -> Array:
        """The direction (width,), of any length, of residuals (texts, width) of both classes."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class MeanDifference(_DirectionProbe):
    """Difference of the two class means (the paper's equation 1)."""

    def _direction(self, positive: Array, negative: Array) -> Array:
        return np.asarray(positive.mean(axis=0) - negative.mean(axis=0))


class Logistic(_DirectionProbe):
    """L2-regularised logistic regression on standardised residuals, as scikit-learn fits it.

    `C` is the inverse strength of the penalty; 1 is that of `localprobe fit --method logistic`.
    """

    def __init__(self, C: float = 1.0) -> None:  # noqa: N803 (scikit-learn's name)
        self.C = C

    def _direction(self, positive: Array, negative: Array) -> Array:
        from sklearn.linear_model import LogisticRegression

        texts = np.concatenate([positive, negative])
        spread = _spread(texts)
        labels = np.repeat([1, 0], [len(positive), len(negative)])
        model = LogisticRegression(C=self.C, max_iter=1000, tol=1e-6)
        return np.asarray(model.fit((texts - texts.mean(axis=0)) / spread, labels).coef_[0] / spread)


class PCA(_DirectionProbe):
    """First principal component of the differences between the classes, not centred, because their mean is the signal.

    If both classes have equally many rows, row i of one is paired with row i of the other; else each row is compared
    with the mean of the other class.
    """

    def _direction(self, positive: Array, negative: Array) -> Array:
        if len(positive) == len(negative):
            differences = positive - negative
        else:
            differences = np.concatenate([positive - negative.mean(axis=0), positive.mean(axis=0) - negative])
        return np.asarray(np.linalg.svd(differences, full_matrices=False)[2][0])


class LDA(_DirectionProbe):
    """Linear discriminant analysis on standardised residuals: the mean difference times the inverse of the within-class
    covariance, which is shrunk towards a multiple of the identity by the share of Ledoit and Wolf (2004)."""

    def _direction(self, positive: Array, negative: Array) -> Array:
        spread = _spread(np.concatenate([positive, negative]))
        positive, negative = positive / spread, negative / spread
        difference = positive.mean(axis=0) - negative.mean(axis=0)
        within = np.concatenate([positive - positive.mean(axis=0), negative - negative.mean(axis=0)])
        return np.asarray(_whitened(difference, within) / spread)


def _whitened(difference: Array, within: Array) -> Array:
    """`difference` (width,) times the inverse of the shrunk covariance of `within` (texts, width), centred per class.

    In the space that the texts span, the Gram matrix (texts, texts) does for the covariance (width, width): the inverse
    of `a G + b I` by Woodbury's identity.
    """
    texts, width = within.shape
    gram = within @ within.T / texts
    trace, square = float(np.trace(gram)), float((gram**2).sum())
    if trace <= 0:
        return difference
    excess = square - trace**2 / width
    noise = float(((np.diag(gram) * texts) ** 2).sum() / texts - square) / texts
    share = float(np.clip(noise / excess, 0, 1)) if excess > 0 else 1.0
    ridge = share * trace / width
    if ridge <= 0:
        return np.asarray(np.linalg.lstsq(within.T @ within / texts, difference, rcond=None)[0])
    scale = (1 - share) / texts
    inner = np.linalg.solve(ridge * np.eye(texts) + scale * within @ within.T, within @ difference)
    return np.asarray((difference - scale * within.T @ inner) / ridge)


def _spread(texts: Array) -> Array:
    """Standard deviation of each dimension (width,), 1 where it is 0."""
    spread = np.asarray(texts.std(axis=0))
    spread[spread == 0] = 1
    return spread
