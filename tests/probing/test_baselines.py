"""What texts give away without a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.probing.baselines import bag_of_words, baselines, folded, length_in_words, single_word, telling_word
from localprobe.probing.examples import Examples
from localprobe.stats.auroc import auroc
from tests.probing.planted import lexical_examples, meant_examples, texts_of_words

NO_PROBE = (np.linspace(0, 1, 20), np.linspace(0, 1, 20))


def test_a_planted_word_is_found_by_words_and_by_itself() -> None:
    train, test = lexical_examples(30), lexical_examples(20, seed=1)
    found = baselines(train, test, NO_PROBE)
    assert found.best_word.word == "kindly"
    assert found.best_word.auroc == 1.0
    assert found.best_word.interval[0] > 0.9
    assert found.bag_of_words.auroc > 0.7
    assert found.bag_of_words_unseen is not None
    assert found.bag_of_words_unseen.auroc > 0.7
    assert found.length_words.auroc < 0.8


def test_a_word_of_the_negative_pole_counts_as_much() -> None:
    train, test = lexical_examples(30), lexical_examples(20, seed=1)
    turned = [
        replace(each, positive_texts=each.negative_texts, negative_texts=each.positive_texts) for each in (train, test)
    ]
    assert telling_word(turned[0]) == "kindly"
    assert auroc(*single_word(*turned)) == 1.0
    assert auroc(*bag_of_words(*turned)) > 0.7


def test_without_a_word_in_common_words_know_nothing() -> None:
    found = baselines(meant_examples(40, [3.0]), meant_examples(30, [3.0], seed=1), NO_PROBE30)
    assert abs(found.bag_of_words.auroc - 0.5) < 0.2
    assert abs(found.best_word.auroc - 0.5) < 0.2


NO_PROBE30 = (np.linspace(0, 1, 30), np.linspace(0, 1, 30))


def test_length_alone_with_the_sign_of_the_training_texts() -> None:
    long, short = texts_of_words(20, length=40)[0], texts_of_words(20, length=20)[0]
    residuals = np.zeros((20, 1, 2), np.float32)
    longer = Examples(residuals, residuals, tuple(long), tuple(short))
    shorter = Examples(residuals, residuals, tuple(short), tuple(long))
    assert auroc(*length_in_words(longer, longer)) == 1.0
    assert auroc(*length_in_words(shorter, shorter)) == 1.0
    assert auroc(*length_in_words(longer, shorter)) == 0.0  # learnt the wrong way round


def test_a_group_is_scored_by_a_fit_without_it() -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def scorer(train: Examples, test: Examples) -> tuple[np.ndarray, np.ndarray]:
        seen.append((set(train.scenarios), set(test.scenarios)))
        return np.ones(len(test)), np.zeros(len(test))

    examples = lexical_examples(12, scenarios=3)
    high, low = folded(scorer, examples, examples.scenarios)
    assert high.tolist() == [1] * 12
    assert low.tolist() == [0] * 12
    assert all(not train & test and len(test) == 1 for train, test in seen)
    assert len(seen) == 3


def test_the_probes_lead_is_the_difference_of_the_aurocs() -> None:
    train, test = lexical_examples(30), lexical_examples(20, seed=1)
    perfect = (np.linspace(1, 2, 20), np.linspace(0, 0.5, 20))
    found = baselines(train, test, perfect, layer_0=NO_PROBE)
    assert found.layer_0 is not None
    assert found.layer_0.auroc == pytest.approx(0.5)
    assert found.layer_0.lead is not None
    assert 0.2 < found.layer_0.lead[0] < 0.5 < found.layer_0.lead[1]
    assert found.best_word.lead == (0.0, 0.0)


def test_without_training_texts_folds_over_the_test_pairs_serve() -> None:
    found = baselines(None, lexical_examples(40), (np.ones(40), np.zeros(40)))
    assert found.bag_of_words.auroc > 0.7
    assert found.best_word.auroc == 1.0
