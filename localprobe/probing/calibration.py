"""Thresholds of a probe that have a given false-positive rate, from the scores of neutral texts.

**Tokens.** The threshold is the (1 - fpr) quantile of the scores of all neutral tokens. Tokens of one text are
dependent, so the rate's interval is Wilson's for fewer tokens: their number over the design effect between texts (Kish
1965, `stats.rates.grouped_rate`). The interval of the threshold is Woodruff's (1952, Journal of the American
Statistical Association 47:635): the quantiles at both ends of the interval of the rate.

**Texts.** What is compared is the mean score of a text's n tokens. It depends on n in two ways. On SmolLM2-135M at the
layers of the shipped probes, early tokens score higher (empathy: 25 at the second token, 17 after 32), and the mean of
few tokens is more spread (6 at 8 tokens, 3.5 at 128). One threshold for all lengths that fires on 1 % of mixed texts
would fire on 4 to 8 % of those of up to eight tokens and hardly ever on longer ones. So the threshold depends on n:

    threshold(n) = median(n) + q * (the 84 % quantile(n) - median(n))

A model reads from left to right, so the first n scores of a text are those of the text cut there: each text counts at
every length in LENGTHS that it reaches. Median and spread are robust, because now and then a later token is an
attention sink as well, with a score of thousands. q is one number: the (1 - fpr) quantile of (mean - median) / spread
over all lengths, each length weighing the same; or that over whole texts if it is larger, as a short text is not quite
a long one that is cut (without this 7 % of whole texts fired a certainty threshold of 5 %). On SmolLM2 that quantile
differs little between lengths (at 1 %, 1.7 to 3.5, of one to five hundred texts each), and there are never enough long
texts to find it for each. Between two lengths the threshold is linear in log n; beyond the longest that LEAST texts
reach it stays as it is, which is cautious.

The rates reported are of texts that the threshold was not made with (ten folds). At the threshold itself the share of
the calibration texts is fpr by construction, and would say nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.stats.intervals import wilson
from localprobe.stats.rates import Rate, grouped_rate
from localprobe.vectors.calibrated import Calibration, Kind, Knot, LengthRate, Unit, interpolated
from localprobe.version import __version__

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Numbers of tokens at which the spread of means is measured."""
LEAST = 50
"""Texts that must reach a length for its spread to be measured; of fewer in all, half of them."""
BINS: tuple[tuple[int, int | None], ...] = ((1, 8), (9, 16), (17, 32), (33, 64), (65, None))
"""Lengths of texts, in scored tokens, whose rates are reported."""
EXPECTED = 5
"""False positives that must be expected among the tokens, or texts, of a calibration."""
TEXTS = 20
"""The fewest texts of a calibration, whose differences its intervals rest on."""
_FOLDS = 10
_SPREAD = 0.84

_Array = NDArray[np.float64]
_Threshold = Callable[[int], float]
"""From the number of tokens of a mean to the threshold."""


@dataclass(frozen=True, slots=True)
class About:
    """What was scored."""

    kind: Kind
    source: str
    sha256: str
    positives: str
    model: str
    weights: str
    engine: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The scores of texts at one layer; only those with a scored token."""

    scores: list[_Array]
    groups: list[int]
    """Texts of the same group are dependent: answers to one question."""

    @classmethod
    def of(cls, scores: Sequence[FloatArray], groups: Sequence[int] | None = None) -> Texts:
        """From scores (n,) of each text."""
        kept = [i for i, text in enumerate(scores) if len(text)]
        groups = range(len(scores)) if groups is None else groups
        return cls([scores[i].astype(np.float64) for i in kept], [groups[i] for i in kept])

    @property
    def tokens(self) -> int:
        """Number of scored tokens."""
        return sum(map(len, self.scores))

    def means(self, tokens: int) -> _Array:
        """The mean of the first `tokens` scores of each text that has so many."""
        return np.array([text[:tokens].mean() for text in self.scores if len(text) >= tokens])

    def fold(self, number: int, inside: bool) -> Texts:
        """The texts whose group is in a fold, or all others."""
        kept = [i for i, group in enumerate(self.groups) if (group % _FOLDS == number) == inside]
        return Texts([self.scores[i] for i in kept], [self.groups[i] for i in kept])


@dataclass(frozen=True, slots=True)
class _Flags:
    """How often texts of some length were above a threshold: (length, above, of, group) of each."""

    rows: list[tuple[int, int, int, int]] = field(default_factory=list)

    def rate(self, least: int = 1, most: int | None = None) -> Rate | None:
        """The share above it among texts of `least` to `most` tokens; None if there are none."""
        groups: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for length, above, of, group in self.rows:
            if least <= length <= (most or length):
                groups[group][0] += above
                groups[group][1] += of
        return grouped_rate([(above, of) for above, of in groups.values()]) if groups else None


def measured(
    scores: Sequence[FloatArray],
    groups: Sequence[int],
    fpr: float,
    about: About,
    positive: Sequence[FloatArray] = (),
    negative: Sequence[FloatArray] = (),
) -> tuple[tuple[Calibration, ...], tuple[str, ...]]:
    """The calibrations of tokens and of texts, and notices, from scores (n,) of neutral texts, each of a group, and of
    the texts of both poles.

    Texts are left out, with a notice, if there are too few of them for `fpr`; DataError if the tokens are too few.
    """
    neutral = Texts.of(scores, groups)
    needed = EXPECTED / fpr
    distinct = len(set(neutral.groups))
    if neutral.tokens < needed or distinct < TEXTS:
        raise DataError(
            f"{about.source}: {neutral.tokens} tokens in {distinct} {about.kind} are too few for `fpr` {fpr:g}, which "
            f"needs {needed:.0f} tokens and {TEXTS} {about.kind}: give more, or a larger `fpr`"
        )
    sides = Texts.of(positive), Texts.of(negative)
    units: tuple[Unit, ...] = ("token", "text") if len(neutral.scores) >= needed else ("token",)
    notices: tuple[str, ...] = ()
    if len(units) == 1:
        notices = (
            f"{len(neutral.scores)} {about.kind} are too few for a threshold of whole {about.kind} at fpr {fpr:g}, "
            f"which needs {needed:.0f}: only tokens have one",
        )
    return tuple(_calibration(unit, neutral, sides, fpr, about) for unit in units), notices


def knots(neutral: Texts, fpr: float, unit: Unit) -> tuple[Knot, ...]:
    """The thresholds of tokens (one knot) or of means (by the number of tokens), with their intervals."""
    return _token_knots(neutral, fpr) if unit == "token" else _text_knots(neutral, fpr)


def _token_knots(neutral: Texts, fpr: float) -> tuple[Knot, ...]:
    scores = np.concatenate(neutral.scores)
    threshold = float(np.quantile(scores, 1 - fpr))
    rate = _flags(neutral, "token", lambda tokens: threshold).rate()
    low, high = (rate.low, rate.high) if rate else (fpr, fpr)
    return (_knot(1, threshold, *np.quantile(scores, [1 - max(high, fpr), 1 - min(low, fpr)])),)


def _text_knots(neutral: Texts, fpr: float) -> tuple[Knot, ...]:
    least = min(LEAST, max(2, len(neutral.scores) // 2))
    lengths, centres, spreads, standard = [], [], [], []
    for length in LENGTHS:
        means = neutral.means(length)
        if len(means) < least:
            break
        centre, above = np.quantile(means, [0.5, _SPREAD])
        spread = max(above - centre, 1e-12)
        lengths.append(length)
        centres.append(centre)
        spreads.append(spread)
        standard.append((means - centre) / spread)
    low, high = wilson(fpr, len(set(neutral.groups)))
    shares = [1 - fpr, 1 - high, 1 - low]
    whole = [
        (text.mean() - np.interp(np.log(len(text)), np.log(lengths), centres))
        / np.interp(np.log(len(text)), np.log(lengths), spreads)
        for text in neutral.scores
    ]
    at = np.maximum(_weighted_quantiles(standard, shares), _weighted_quantiles([np.array(whole)], shares))
    return tuple(
        _knot(length, *(centre + at * spread)) for length, centre, spread in zip(lengths, centres, spreads, strict=True)
    )


def _knot(tokens: int, threshold: float, low: float, high: float) -> Knot:
    return Knot(tokens, float(threshold), float(low), float(high))


def _weighted_quantiles(samples: Sequence[_Array], shares: Sequence[float]) -> _Array:
    """Quantiles of the mixture of samples that weigh the same."""
    values = np.concatenate(samples)
    weights = np.concatenate([np.full(len(sample), 1 / len(sample)) for sample in samples]) / len(samples)
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return values[order][np.minimum(np.searchsorted(below, shares), len(values) - 1)]


def _threshold(found: tuple[Knot, ...]) -> _Threshold:
    points = [(knot.tokens, knot.threshold) for knot in found]
    return lambda tokens: interpolated(points, tokens)


def _flags(texts: Texts, unit: Unit, threshold: _Threshold) -> _Flags:
    """Which tokens or texts are above a threshold."""
    rows = []
    for scores, group in zip(texts.scores, texts.groups, strict=True):
        length = len(scores)
        if unit == "token":
            rows.append((length, int((scores > threshold(1)).sum()), length, group))
        else:
            rows.append((length, int(scores.mean() > threshold(length)), 1, group))
    return _Flags(rows)


def _held_out(neutral: Texts, fpr: float, unit: Unit) -> _Flags:
    """The flags of each fold's texts by the threshold of the others."""
    rows = []
    for number in range(_FOLDS):
        inside = neutral.fold(number, inside=True)
        if inside.scores:
            others = knots(neutral.fold(number, inside=False), fpr, unit)
            rows += _flags(inside, unit, _threshold(others)).rows
    return _Flags(rows)


def _calibration(unit: Unit, neutral: Texts, sides: tuple[Texts, Texts], fpr: float, about: About) -> Calibration:
    found = knots(neutral, fpr, unit)
    flags = _held_out(neutral, fpr, unit)
    bins = [(least, most, flags.rate(least, most)) for least, most in BINS]
    rate = flags.rate()
    assert rate is not None  # there are texts
    positive, negative = (_flags(side, unit, _threshold(found)).rate() for side in sides)
    return Calibration(
        fpr=fpr,
        unit=unit,
        kind=about.kind,
        knots=found,
        rate=rate,
        lengths=tuple(LengthRate(least, most, each) for least, most, each in bins if each),
        true_positive=positive,
        negative=negative,
        texts=len(neutral.scores),
        tokens=neutral.tokens,
        source=about.source,
        sha256=about.sha256,
        positives=about.positives if positive else "",
        model=about.model,
        weights=about.weights,
        engine=about.engine,
        version=__version__,
    )
