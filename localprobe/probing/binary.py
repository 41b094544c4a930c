"""The yes-or-no reading of a probe (the paper's Table 3): does a score above the threshold mean rated behaviour?"""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.probing.measures import auroc
from localprobe.probing.span import Array


@dataclass(frozen=True, slots=True)
class Binary:
    """Texts rated above the middle of the ratings against those below it. A figure with nothing to count is None."""

    n: int
    left_out: int
    """Texts rated right in the middle."""
    threshold: float
    """The probe's own, from its training texts."""
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    accuracy: float
    precision: float | None
    recall: float
    f1: float
    specificity: float
    auroc: float
    """Whatever the threshold: texts of another kind may score higher or lower all together."""


def binary(ratings: Array, scores: Array, threshold: float) -> Binary:
    """Read scores (texts,) against ratings (texts,) that vary; the middle lies between the lowest and the highest."""
    middle = (ratings.min() + ratings.max()) / 2
    positive, negative = scores[ratings > middle], scores[ratings < middle]  # neither is empty, as ratings vary
    hits, alarms = int((positive > threshold).sum()), int((negative > threshold).sum())
    n = len(positive) + len(negative)
    rejected, missed = len(negative) - alarms, len(positive) - hits
    return Binary(
        n=n,
        left_out=len(ratings) - n,
        threshold=float(threshold),
        true_positive=hits,
        false_positive=alarms,
        true_negative=rejected,
        false_negative=missed,
        accuracy=(hits + rejected) / n,
        precision=hits / (hits + alarms) if hits + alarms else None,
        recall=hits / len(positive),
        f1=2 * hits / (2 * hits + alarms + missed),
        specificity=rejected / len(negative),
        auroc=auroc(positive, negative),
    )
