"""Baselines that need no model: a bag of words, one word, and length.

A probe is a finding only if it separates the texts better than these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from localprobe.contrast.words import give_aways, tokens, words
from localprobe.engine import FloatArray
from localprobe.probing.examples import Examples
from localprobe.stats.arrays import Array
from localprobe.stats.auroc import auroc
from localprobe.stats.intervals import Interval, auroc_interval, lead_interval

Scores: TypeAlias = tuple[Array, Array]
"""Scores (pairs,) of positive and of negative texts."""
Scorer: TypeAlias = Callable[[Examples, Examples], Scores]
"""Fits on the texts of the first argument and scores those of the second."""

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Baseline:
    """One baseline on the test texts."""

    auroc: float
    interval: Interval
    lead: Interval | None
    """95 % interval of the probe's AUROC minus this one, resampling pairs; None if the probe was scored on other
    texts."""
    word: str | None = None
    """The word, for the best single word."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """The baselines of a probe, fitted on the training texts, or without those by folds over the test pairs."""

    bag_of_words: Baseline
    """Logistic regression on a bag of words."""
    bag_of_words_unseen: Baseline | None
    """The same on all pairs, each scenario scored by a fit without it; None if the pairs name no scenarios."""
    best_word: Baseline
    """Presence of the one word that separates the training texts best."""
    length_words: Baseline
    length_characters: Baseline
    layer_0: Baseline | None
    """The probe at layer 0, which has hardly any context; None if that layer was not captured."""


def baselines(
    train: Examples | None,
    test: Examples,
    probe: tuple[FloatArray, FloatArray],
    layer_0: tuple[FloatArray, FloatArray] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Baselines:
    """Baselines on the test texts, against the probe's scores (pairs,) of both poles and those at layer 0."""

    def against(scores: Scores | tuple[FloatArray, FloatArray], word: str | None = None) -> Baseline:
        interval = auroc_interval(*scores, resamples=resamples, seed=seed)
        lead = lead_interval(probe, scores, resamples=resamples, seed=seed)
        return Baseline(auroc(*scores), interval, lead, word)

    def fitted(scorer: Scorer) -> Scores:
        return scorer(train, test) if train else folded(scorer, test, _deal(len(test), seed))

    together = train.joined(test) if train else test
    unseen = None
    if len(set(together.scenarios)) > 1:
        scores = folded(bag_of_words, together, together.scenarios)
        unseen = Baseline(auroc(*scores), auroc_interval(*scores, resamples=resamples, seed=seed), None)
    return Baselines(
        bag_of_words=against(fitted(bag_of_words)),
        bag_of_words_unseen=unseen,
        best_word=against(fitted(single_word), telling_word(train or test)),
        length_words=against(fitted(length_in_words)),
        length_characters=against(fitted(length_in_characters)),
        layer_0=against(layer_0) if layer_0 else None,
    )


def folded(scorer: Scorer, examples: Examples, groups: Sequence[str]) -> Scores:
    """Scores of all pairs, each group's by a fit on the other groups."""
    names = np.array(groups)
    high, low = np.empty(len(examples)), np.empty(len(examples))
    for name in np.unique(names):
        out = names == name
        high[out], low[out] = scorer(examples.rows(~out), examples.rows(out))
    return high, low


def bag_of_words(train: Examples, test: Examples) -> Scores:
    """Logistic regression on the weights (tf-idf) of words and marks.

    It is stronger than `words.word_model` where a concept is spread over many rare words, and weaker where one common
    word marks the pole, which `single_word` covers.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(analyzer=tokens, sublinear_tf=True), LogisticRegression(C=10, max_iter=1000))
    model.fit([*train.positive_texts, *train.negative_texts], np.repeat([1, 0], len(train)))
    return model.decision_function(test.positive_texts), model.decision_function(test.negative_texts)


def single_word(train: Examples, test: Examples) -> Scores:
    """1 for a text that has the most telling word of the training texts, -1 if that word marks the negative pole."""
    best = give_aways(train.positive_texts, train.negative_texts)[0]
    sign = 1.0 if best.auroc >= 0.5 else -1.0
    high, low = (
        np.array([sign * (best.word in tokens(text)) for text in texts])
        for texts in (test.positive_texts, test.negative_texts)
    )
    return high, low


def telling_word(train: Examples) -> str:
    """The word that `single_word` looks for."""
    return give_aways(train.positive_texts, train.negative_texts)[0].word


def length_in_words(train: Examples, test: Examples) -> Scores:
    """The number of words, with the sign that separates the training texts."""
    return _length(train, test, lambda text: len(words(text)))


def length_in_characters(train: Examples, test: Examples) -> Scores:
    """The number of characters, with the sign that separates the training texts."""
    return _length(train, test, len)


def _length(train: Examples, test: Examples, measure: Callable[[str], int]) -> Scores:
    lengths = [
        np.array([measure(text) for text in texts], dtype=np.float64)
        for texts in (train.positive_texts, train.negative_texts, test.positive_texts, test.negative_texts)
    ]
    sign = 1.0 if auroc(lengths[0], lengths[1]) >= 0.5 else -1.0
    return sign * lengths[2], sign * lengths[3]


def _deal(pairs: int, seed: int) -> list[str]:
    return [str(fold) for fold in np.random.default_rng(seed).permutation(pairs) % min(_FOLDS, pairs)]
