"""The verdict: each rule, and whole cases with a concept that is planted in a known way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.probing.agreement import PairAgreement
from localprobe.probing.baselines import Baseline, Baselines
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.fit import fit_material
from localprobe.probing.leave_out import Group, LeaveOut
from localprobe.probing.lexical import Ablated, Lexical, ablate_pairs
from localprobe.probing.neutral import Neutral
from localprobe.probing.random_directions import RandomDirections
from localprobe.probing.result import ProbeResult, Validation, Verdict
from localprobe.probing.validation import Material
from localprobe.probing.verdict import verdict_on
from localprobe.stats.intervals import Area
from localprobe.vectors.vector import Origin
from tests.probing.planted import lexical_examples, meant_examples, read_words

QUICK = ProbeConfig(resamples=500, permutations=199)


def validated(examples: Examples, *, ablated: Ablated | None = None) -> ProbeResult:
    test = np.arange(len(examples)) % 10 >= 7
    layers = list(range(2, 2 + examples.positive.shape[1]))
    material = Material(layers, examples.rows(~test), examples.rows(test), ablated)
    return fit_material(material, concept="x", origin=Origin("none"), config=QUICK).result


@pytest.fixture(scope="module")
def sound() -> ProbeResult:
    """A concept that words do not give away."""
    return validated(meant_examples(60, [4.0, 5.0]))


def validation_of(result: ProbeResult) -> Validation:
    assert result.validation is not None
    return result.validation


def baselines_of(result: ProbeResult) -> Baselines:
    baselines = validation_of(result).baselines
    assert baselines is not None
    return baselines


def but(result: ProbeResult, **changes: Any) -> ProbeResult:
    """The same result with other findings, and the verdict on them."""
    validation = replace(validation_of(result), **changes)
    return replace(result, validation=replace(validation, verdict=verdict_on(result, validation)))


def but_words(result: ProbeResult, **changes: Baseline) -> ProbeResult:
    """The same result with other baselines."""
    return but(result, baselines=replace(baselines_of(result), **changes))


def but_chosen(result: ProbeResult, **changes: Any) -> ProbeResult:
    """The same result with other figures at the cross-validated layer."""
    rows = tuple(replace(row, **changes) if row.layer == result.layer else row for row in result.layers)
    return but(replace(result, layers=rows, layer=changes.get("layer", result.layer)))


def verdict(result: ProbeResult) -> Verdict:
    assert result.verdict is not None
    return result.verdict


def shows(result: ProbeResult) -> str:
    return "\n".join(verdict(result).shows)


def lacks(result: ProbeResult) -> str:
    return "\n".join(verdict(result).does_not_show)


def area(auroc: float, low: float, high: float = 1.0) -> Area:
    return Area(auroc, (low, high))


def test_a_concept_that_words_do_not_give_away_is_believed(sound: ProbeResult) -> None:
    headline = verdict(sound).headline
    assert headline.startswith("The probe separates unseen pairs (AUROC 1.00, 0.9")
    assert headline.endswith(", better than a bag of words does.")
    assert "This is not explained by chance: permutation p = 0.005" in shows(sound)
    assert "more than which words occur" in shows(sound)
    assert "generalises to a scenario that it was not fitted on" in shows(sound)
    assert "survives keyword ablation: none was run" in lacks(sound)
    assert lacks(sound).endswith("That the model uses this direction: reading it is not steering with it.")


def test_a_concept_planted_in_one_word_only_is_lexical() -> None:
    said = verdict(validated(lexical_examples(80)))
    assert said.headline.startswith("Lexical: one word alone, 'kindly', separates the poles ")
    assert "More than a word list" in said.does_not_show[0]
    assert not any("more than which words occur" in line for line in said.shows)


def test_a_probe_that_fails_without_its_keyword_is_lexical() -> None:
    examples = lexical_examples(80)
    test = examples.rows(np.arange(80) % 10 >= 7)
    high, low, replaced = ablate_pairs(test.positive_texts, test.negative_texts, {"kindly": "word7"})
    result = validated(examples, ablated=Ablated(read_words(high), read_words(low), replaced, 1))
    ablation = validation_of(result).lexical
    assert ablation is not None
    assert ablation.replaced == 1.0
    assert ablation.reading == "weak"
    result = but_words(result, best_word=baseline(0.5, 0.3))
    assert verdict(result).headline.startswith("Lexical: with its keywords replaced by synonyms its AUROC falls from")


def test_without_a_concept_nothing_is_shown() -> None:
    said = verdict(validated(meant_examples(60, [0.0, 0.0])))
    assert said.headline.startswith("Not shown: on 18 unseen pairs the probe is not distinguishable from chance")
    assert not said.shows
    assert any(line.startswith("That the poles can be separated at all") for line in said.does_not_show)


def baseline(auroc: float, low: float, lead: float = 0.0, word: str | None = None) -> Baseline:
    return Baseline(auroc, (low, 1.0), (lead, 1.0), word)


def test_words_that_do_nearly_as_well_leave_vocabulary(sound: ProbeResult) -> None:
    result = but_words(sound, bag_of_words=baseline(0.97, 0.85))
    assert verdict(result).headline.startswith("Vocabulary: ")
    assert verdict(result).headline.endswith("The texts do not show more than vocabulary.")
    assert "More than vocabulary: a bag of words reaches 0.97" in lacks(result)


def test_a_lead_over_words_that_may_be_chance_is_said(sound: ProbeResult) -> None:
    result = but_words(sound, bag_of_words=baseline(0.9, 0.7, lead=-0.01))
    assert verdict(result).headline.endswith(", perhaps no better than words do.")
    assert "its lead over a bag of words (0.90, 0.70 to 1.00) may be chance" in lacks(result)


def test_length_alone(sound: ProbeResult) -> None:
    result = but_words(sound, length_words=baseline(1.0, 0.9))
    assert verdict(result).headline.startswith("Length: text length alone separates the poles as well")
    assert "More than length: the number of words reaches 1.00" in lacks(result)


@pytest.mark.parametrize(
    ("auroc", "manner"), [(0.87, "nearly as well"), (0.9, "as well"), (0.94, "as well"), (0.96, "better")]
)
def test_what_does_as_well_is_said_to_do_no_more_than_it_does(sound: ProbeResult, auroc: float, manner: str) -> None:
    result = but_words(but_chosen(sound, auroc=0.9), length_words=baseline(auroc, 0.8))
    assert verdict(result).headline.startswith(f"Length: text length alone separates the poles {manner} (AUROC {auroc}")


def test_layer_0_does_as_well(sound: ProbeResult) -> None:
    result = but_words(sound, layer_0=baseline(0.99, 0.9))
    assert "That depth is needed: layer 0, with hardly any context, reaches 0.99" in lacks(result)
    assert "the chosen layer is 0" in lacks(but_chosen(sound, layer=0))


def test_where_texts_are_not_known_nothing_is_said_of_words_and_depth_is_still_judged(sound: ProbeResult) -> None:
    result = but(sound, baselines=None)
    assert "It was not compared with words: no texts were given." in verdict(result).headline
    assert lacks(result).startswith("That it reads more than words or length: no texts were given to compare with.")
    assert "more than which words occur" not in shows(result)
    assert "the chosen layer is 0" in lacks(but(but_chosen(sound, layer=0), baselines=None))


def test_few_pairs_leave_a_wide_interval(sound: ProbeResult) -> None:
    few = validated(meant_examples(30, [4.0, 5.0]))
    assert "A precise figure: with 9 test pairs its AUROC may lie from 0.8" in lacks(few)
    assert "A precise figure" not in lacks(sound)


def test_a_scenario_that_is_not_read_is_named(sound: ProbeResult) -> None:
    groups = (
        Group("maze", 12, 3, area(0.55, 0.3, 0.8), (0.55,)),
        Group("duel", 12, 3, area(0.95, 0.8), (0.95,)),
    )
    partly = LeaveOut("scenario", area(0.8, 0.7, 0.9), (0.8,), groups)
    result = but(sound, leave_one_out={"scenario": partly})
    assert "the scenario 'maze': fitted without it, AUROC 0.55, 0.30 to 0.80 on its 12 pairs" in lacks(result)
    assert "generalises" not in shows(result)
    one = (Group("lone", 1, 3, Area(0.0, None), (0.0,)), groups[1])
    lone = but(sound, leave_one_out={"scenario": replace(partly, groups=one)})
    assert "the scenario 'lone': fitted without it, AUROC 0.00 on its only pair." in lacks(lone)
    not_at_all = replace(partly, pooled=area(0.6, 0.45, 0.7))
    only = verdict(but(sound, leave_one_out={"scenario": not_at_all})).headline
    assert only.startswith("Only where it was fitted")
    unnamed = but(sound, leave_one_out={})
    assert "That it generalises to another scenario: the pairs name fewer than two" in lacks(unnamed)


def test_permutations_that_do_as_well_take_the_claim_away(sound: ProbeResult) -> None:
    result = but(sound, permutation=replace(validation_of(sound).permutation, p=0.2))
    assert verdict(result).headline.startswith("Not shown")
    assert "permutation p = 0.2" in lacks(result)


def test_a_layer_that_flatters_is_said(sound: ProbeResult) -> None:
    result = but_chosen(sound, auroc=0.93)
    assert "that layer was chosen on the test texts. Chosen without them it is layer" in lacks(result)
    assert "chosen on the test texts" not in lacks(sound)


def test_random_directions_that_do_as_well_are_said(sound: ProbeResult) -> None:
    assert isinstance(sound.chosen.random, RandomDirections)
    common = but_chosen(sound, random=replace(sound.chosen.random, percentile=80.0))
    assert "A special direction: 20 % of random ones do as well" in lacks(common)


def test_a_direction_that_is_not_stable_is_said(sound: ProbeResult) -> None:
    loose = but_chosen(sound, agreement=PairAgreement(0.05, 0.4))
    assert "two halves of the pairs give directions with cosine 0.40" in lacks(loose)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (1.1, "neutral texts score like positive ones (at 1.10"),
        (0.0, "neutral texts score like negative ones (at 0.00"),
    ],
)
def test_neutral_texts_at_a_pole_turn_the_reading(sound: ProbeResult, position: float, expected: str) -> None:
    result = but(sound, neutral=Neutral(16, 3, position, 0, 1, 0.5, 0.5, 2.0))
    assert expected in lacks(result)
    between = but(sound, neutral=Neutral(16, 3, 0.45, 0, 1, 0.9, 0.4, 2.0))
    assert "Neutral texts fall between the poles, at 0.45" in shows(between)
    assert "neutral texts score like" not in lacks(between)


@pytest.mark.parametrize(
    ("after", "replaced", "expected"),
    [
        (0.98, 3.0, ""),
        (0.80, 3.0, "without them its AUROC falls by 0.20"),
        (1.0, 0.4, "only 0.4 words per pair could be replaced"),
    ],
)
def test_ablation_is_read_by_its_drop_and_its_size(
    sound: ProbeResult, after: float, replaced: float, expected: str
) -> None:
    reading = "strong" if after > 0.85 else "moderate"
    ablation = Lexical(area(1.0, 0.9), area(after, after - 0.1), 1 - after, replaced, 41, reading)
    result = but(sound, lexical=ablation)
    assert expected in lacks(result)
    assert ("survives keyword ablation: with 3.0 words per pair" in shows(result)) == (expected == "")


def test_sentences_are_short_and_plain(sound: ProbeResult) -> None:
    others = validated(lexical_examples(60)), validated(meant_examples(30, [0.0])), but(sound, baselines=None)
    for said in map(verdict, (sound, *others)):
        assert str(said) == said.headline
        for line in (said.headline, *said.shows, *said.does_not_show):
            assert line.endswith(".")
            assert "\n" not in line
            assert len(line.split()) <= 45, line
