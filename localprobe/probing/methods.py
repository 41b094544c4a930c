"""The methods that fit a direction for every layer on contrast pairs, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import DataError, UsageError
from localprobe.probing.probe import Probe, check_poles
from localprobe.probing.solvers import first_component, logistic, mean_difference, whitened
from localprobe.probing.span import Span
from localprobe.stats.arrays import Array


@dataclass(frozen=True, slots=True)
class Method:
    """A method that fits a direction at one layer."""

    solve: Callable[[Array, Array, int], Array]
    """(coordinates (2 * pairs, rank), signs (labellings, pairs), width) -> weights (labellings, rank)."""
    standardise: bool
    """Whether dimensions are first divided by their standard deviation over the training texts. A few dimensions of a
    residual stream are hundreds of times larger than the rest; a penalty or a covariance would see only those."""
    about: str


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "mean-difference": Method(mean_difference, False, "difference of the two means (the paper's)"),
        "logistic": Method(logistic, True, "L2 logistic regression on standardised residuals"),
        "pca": Method(first_component, False, "first principal component of the pair differences"),
        "lda": Method(whitened, True, "mean difference whitened by the shrunk within-class covariance"),
    }
)


def method_of(name: str) -> Method:
    """The method of that name; UsageError lists them if there is none."""
    if name not in METHODS:
        raise UsageError(f"no method {name!r}: there are {', '.join(METHODS)}")
    return METHODS[name]


def fit(positive: FloatArray, negative: FloatArray, method: str = "mean-difference") -> Probe:
    """Fit on pooled residuals of both poles, each (pairs, layers, width); row i of each is one pair.

    Every method is deterministic. Directions are in the space of the residuals, of length 1, and the positive pole
    scores higher on the training pairs. Raises DataError for residuals that cannot be fitted: a pole without texts, a
    single pair, NaN, shapes that differ, poles with the same mean.
    """
    check_poles(positive, negative)
    solver = method_of(method)
    fits = [fit_layer(positive[:, b], negative[:, b], solver) for b in range(positive.shape[1])]
    directions, norms, thresholds = zip(*fits, strict=True)
    if not all(norms):
        raise DataError("the two poles have the same mean residual: are their texts the same?")
    return Probe(
        np.stack(directions).astype(np.float32),
        np.array(norms, dtype=np.float32),
        np.array(thresholds, dtype=np.float32),
    )


def fit_layer(positive: FloatArray, negative: FloatArray, method: Method) -> tuple[Array, float, float]:
    """Unit direction (width,), difference of the training means, and threshold, of poles (pairs, width)."""
    pairs, width = positive.shape
    span = Span.of(positive, negative, standardise=method.standardise)
    weights = method.solve(span.coordinates, np.ones((1, pairs)), width)[0]  # (rank,)
    direction = span.direction(weights)
    length = float(np.linalg.norm(direction))
    if not length:
        return direction, 0.0, 0.0
    scores = span.coordinates @ weights / length  # (texts,) relative to the threshold, as both poles have the same size
    norm = float(scores[:pairs].mean() - scores[pairs:].mean())
    return direction / length, norm, float(direction @ span.centre / length)
