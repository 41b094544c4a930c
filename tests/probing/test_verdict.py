"""The verdict: each rule, and whole cases with a concept that is planted in a known way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.probing.agreement import Agreement
from localprobe.probing.baselines import Baseline
from localprobe.probing.examples import Examples
from localprobe.probing.leave_out import Group, LeaveOut
from localprobe.probing.lexical import Ablated, Lexical, ablate_pairs
from localprobe.probing.neutral import Neutral
from localprobe.probing.validation import Effort, Validation, validate
from localprobe.probing.verdict import judge
from localprobe.stats.intervals import Area
from tests.probing.planted import lexical_examples, meant_examples, read_words

QUICK = Effort(resamples=500, permutations=199)


def validated(examples: Examples, **options: Any) -> Validation:
    test = np.arange(len(examples)) % 10 >= 7
    layers = list(range(2, 2 + examples.positive.shape[1]))
    return validate(examples.rows(~test), examples.rows(test), layers=layers, effort=QUICK, **options)


@pytest.fixture(scope="module")
def sound() -> Validation:
    """A concept that words do not give away."""
    return validated(meant_examples(60, [4.0, 5.0]))


def shows(found: Validation) -> str:
    return "\n".join(judge(found).shows)


def lacks(found: Validation) -> str:
    return "\n".join(judge(found).does_not_show)


def area(auroc: float, low: float, high: float = 1.0) -> Area:
    return Area(auroc, (low, high))


def test_a_concept_that_words_do_not_give_away_is_believed(sound: Validation) -> None:
    verdict = sound.verdict
    assert verdict.headline.startswith("The probe tells unseen pairs apart (AUROC 1.00, 0.9")
    assert verdict.headline.endswith("and better than words do.")
    assert "permutation p = 0.005" in shows(sound)
    assert "more than which words occur" in shows(sound)
    assert "carries over to a scenario that it was not fitted on" in shows(sound)
    assert "no ablation was run" in lacks(sound)
    assert lacks(sound).endswith("That the model uses this direction: reading it is not steering with it.")


def test_a_concept_planted_in_one_word_only_is_lexical() -> None:
    verdict = validated(lexical_examples(80)).verdict
    assert verdict.headline.startswith("Lexical: one word alone, 'kindly', tells the poles apart ")
    assert "More than a word list" in verdict.does_not_show[0]
    assert not any("more than which words occur" in line for line in verdict.shows)


def test_a_probe_that_fails_without_its_keyword_is_lexical() -> None:
    examples = lexical_examples(80)
    test = examples.rows(np.arange(80) % 10 >= 7)
    high, low, replaced = ablate_pairs(test.positive_texts, test.negative_texts, {"kindly": "word7"})
    found = validated(examples, ablated=Ablated(read_words(high), read_words(low), replaced, 1))
    assert found.lexical is not None
    assert found.lexical.replaced == 1.0
    assert found.lexical.reading == "weak"
    found = replace(found, baselines=replace(found.baselines, best_word=baseline(0.5, 0.3)))
    assert found.verdict.headline.startswith("Lexical: with its keywords replaced by synonyms its AUROC falls from")


def test_without_a_concept_nothing_is_shown() -> None:
    verdict = validated(meant_examples(60, [0.0, 0.0])).verdict
    assert verdict.headline.startswith("Not shown: on 18 unseen pairs the probe does no better than chance may")
    assert not verdict.shows
    assert any(line.startswith("That the poles can be told apart at all") for line in verdict.does_not_show)


def baseline(auroc: float, low: float, lead: float = 0.0, word: str | None = None) -> Baseline:
    return Baseline(auroc, (low, 1.0), (lead, 1.0), word)


def test_words_that_do_nearly_as_well_leave_vocabulary(sound: Validation) -> None:
    found = replace(sound, baselines=replace(sound.baselines, bag_of_words=baseline(0.97, 0.85)))
    assert judge(found).headline.startswith("Vocabulary: ")
    assert judge(found).headline.endswith("The texts do not show more than vocabulary.")
    assert "More than vocabulary: a bag of words reaches 0.97" in lacks(found)


def test_a_lead_over_words_that_may_be_chance_is_said(sound: Validation) -> None:
    found = replace(sound, baselines=replace(sound.baselines, bag_of_words=baseline(0.9, 0.7, lead=-0.01)))
    assert judge(found).headline.endswith("and perhaps no better than words do.")
    assert "its lead over a bag of words (0.90, 0.70 to 1.00) may be chance" in lacks(found)


def test_length_alone(sound: Validation) -> None:
    found = replace(sound, baselines=replace(sound.baselines, length_words=baseline(1.0, 0.9)))
    assert judge(found).headline.startswith("Length: the length of a text alone tells the poles apart as well")
    assert "More than length: the number of words reaches 1.00" in lacks(found)


def test_layer_0_does_as_well(sound: Validation) -> None:
    found = replace(sound, baselines=replace(sound.baselines, layer_0=baseline(0.99, 0.9)))
    assert "That depth is needed: layer 0, with hardly any context, reaches 0.99" in lacks(found)
    first = replace(sound, nested=replace(sound.nested, layer=0))
    assert "the chosen layer is 0" in lacks(first)


def test_few_pairs_leave_a_wide_interval(sound: Validation) -> None:
    few = validated(meant_examples(30, [4.0, 5.0]))
    assert "A precise figure: with 9 test pairs its AUROC may lie from 0.8" in lacks(few)
    assert "A precise figure" not in lacks(sound)


def test_a_scenario_that_is_not_read_is_named(sound: Validation) -> None:
    groups = (
        Group("maze", 12, 3, area(0.55, 0.3, 0.8), (0.55,)),
        Group("duel", 12, 3, area(0.95, 0.8), (0.95,)),
    )
    partly = LeaveOut("scenario", area(0.8, 0.7, 0.9), (0.8,), groups)
    found = replace(sound, leave_one_out={"scenario": partly})
    assert "the scenario 'maze': fitted without it, AUROC 0.55, 0.30 to 0.80 on its 12 pairs" in lacks(found)
    assert "carries over" not in shows(found)
    not_at_all = replace(partly, pooled=area(0.6, 0.45, 0.7))
    assert judge(replace(sound, leave_one_out={"scenario": not_at_all})).headline.startswith("Only where it was fitted")
    assert "the pairs do not name at least two" in lacks(replace(sound, leave_one_out={}))


def test_permutations_that_do_as_well_take_the_claim_away(sound: Validation) -> None:
    found = replace(sound, permutation=replace(sound.permutation, p=0.2))
    assert judge(found).headline.startswith("Not shown")
    assert "permutation p = 0.2" in lacks(found)


def test_a_layer_that_flatters_is_said(sound: Validation) -> None:
    worse = replace(sound.nested, measures=replace(sound.nested.measures, auroc=0.93))
    found = replace(sound, nested=worse)
    assert "that layer was chosen on the test texts. Chosen without them it is layer" in lacks(found)
    assert "chosen on the test texts" not in lacks(sound)


def test_random_directions_that_do_as_well_are_said(sound: Validation) -> None:
    common = replace(sound.nested, random=replace(sound.nested.random, percentile=80.0))
    assert "A special direction: 20 % of random ones do as well" in lacks(replace(sound, nested=common))


def test_a_direction_that_is_not_settled_is_said(sound: Validation) -> None:
    loose = replace(sound.nested, agreement=Agreement(0.05, 0.4))
    assert "two halves of the pairs give directions with cosine 0.40" in lacks(replace(sound, nested=loose))


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (1.1, "neutral texts score like positive ones (at 1.10"),
        (0.0, "neutral texts score like negative ones (at 0.00"),
    ],
)
def test_neutral_texts_at_a_pole_turn_the_reading(sound: Validation, position: float, expected: str) -> None:
    found = replace(sound, neutral=Neutral(16, 3, position, 0, 1, 0.5, 0.5, 2.0))
    assert expected in lacks(found)
    between = replace(sound, neutral=Neutral(16, 3, 0.45, 0, 1, 0.9, 0.4, 2.0))
    assert "Neutral texts fall between the poles, at 0.45" in shows(between)
    assert "neutral texts score like" not in lacks(between)


@pytest.mark.parametrize(
    ("after", "replaced", "expected"),
    [(0.98, 3.0, ""), (0.80, 3.0, "without them its AUROC falls by 0.20"), (1.0, 0.4, "only 0.4 a pair were found")],
)
def test_ablation_is_read_by_its_drop_and_its_size(
    sound: Validation, after: float, replaced: float, expected: str
) -> None:
    reading = "strong" if after > 0.85 else "moderate"
    found = replace(sound, lexical=Lexical(area(1.0, 0.9), area(after, after - 0.1), 1 - after, replaced, 41, reading))
    assert expected in lacks(found)
    assert ("stands without its keywords: with 3.0 words a pair" in shows(found)) == (expected == "")


def test_sentences_are_short_and_plain(sound: Validation) -> None:
    for found in (sound, validated(lexical_examples(60)), validated(meant_examples(30, [0.0]))):
        verdict = found.verdict
        for line in (verdict.headline, *verdict.shows, *verdict.does_not_show):
            assert line.endswith(".")
            assert "\n" not in line
            assert len(line.split()) <= 45, line
