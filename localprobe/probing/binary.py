"""The yes-or-no reading of a probe (the paper's Table 3): does a score above the threshold mean rated behaviour?"""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.stats.arrays import Array
from localprobe.stats.auroc import auroc
from localprobe.stats.intervals import Interval, unpaired_auroc_interval
from localprobe.stats.rates import rate


@dataclass(frozen=True, slots=True)
class Binary:
    """Texts rated above the middle of the ratings against those below it. A share of nothing is None."""

    n: int
    left_out: int
    """Texts rated exactly in the middle, which are left out."""
    threshold: float
    """The probe's own, from its training texts."""
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    accuracy: float
    accuracy_interval: Interval
    """95 %, Wilson's, as for all shares here; it stays wide for few texts, even if all are right."""
    precision: float | None
    precision_interval: Interval | None
    recall: float
    recall_interval: Interval
    f1: float
    f1_interval: Interval
    """From the interval of p = hits / (hits + false alarms + misses), as F1 = 2 p / (1 + p)."""
    specificity: float
    specificity_interval: Interval
    auroc: float
    """It needs no threshold: texts of another kind may all score higher or lower."""
    auroc_interval: Interval


def binary(ratings: Array, scores: Array, threshold: float) -> Binary:
    """Read scores (texts,) against ratings (texts,) that vary; the middle lies between the lowest and the highest."""
    middle = (ratings.min() + ratings.max()) / 2
    positive, negative = scores[ratings > middle], scores[ratings < middle]  # neither is empty, as ratings vary
    hits, alarms = int((positive > threshold).sum()), int((negative > threshold).sum())
    n = len(positive) + len(negative)
    rejected, missed = len(negative) - alarms, len(positive) - hits
    called = hits + alarms
    jaccard = rate(hits, called + missed).interval
    area = auroc(positive, negative)
    return Binary(
        n=n,
        left_out=len(ratings) - n,
        threshold=float(threshold),
        true_positive=hits,
        false_positive=alarms,
        true_negative=rejected,
        false_negative=missed,
        accuracy=(hits + rejected) / n,
        accuracy_interval=rate(hits + rejected, n).interval,
        precision=hits / called if called else None,
        precision_interval=rate(hits, called).interval if called else None,
        recall=hits / len(positive),
        recall_interval=rate(hits, len(positive)).interval,
        f1=2 * hits / (2 * hits + alarms + missed),
        f1_interval=(2 * jaccard[0] / (1 + jaccard[0]), 2 * jaccard[1] / (1 + jaccard[1])),
        specificity=rejected / len(negative),
        specificity_interval=rate(rejected, len(negative)).interval,
        auroc=area,
        auroc_interval=unpaired_auroc_interval(area, len(positive), len(negative)),
    )
