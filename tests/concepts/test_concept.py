"""Two words as a concept: the system prompts made of them, the pairs to write, and their file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.concepts.concept import Concept
from localprobe.contrast.pairs import Pair
from localprobe.contrast.scenario_file import SITUATIONS, read_scenarios
from localprobe.errors import UsageError
from localprobe.generators.generate import planned_pairs
from tests.concepts.planted import Planted


def test_the_system_prompts_differ_in_the_word_alone() -> None:
    prompts = Concept("patient", "impatient").system_prompts
    assert prompts.positive.replace("patient", "impatient") == prompts.negative
    assert prompts.positive.count("patient") == 1


def test_without_another_word_the_opposite_is_asked_for() -> None:
    prompts = Concept("patient").system_prompts
    assert prompts.positive.replace("patient", "the opposite of patient") == prompts.negative


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("patient", " Patient "), "is set against itself"),
        ((" ", "loud"), "names no concept"),
        (("loud", "..."), "`against` '...' names no concept"),
    ],
)
def test_words_that_make_no_contrast_are_refused(words: tuple[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Concept(*words)


def test_any_number_of_pairs_covers_the_domains_evenly_and_no_situation_twice_before_all_once() -> None:
    situations = read_scenarios(SITUATIONS.path("varied"))
    domains = {situation.domain for situation in situations}
    assert len(domains) >= 5
    for pairs in (len(domains), 2 * len(domains), len(situations) + 1):
        made = planned_pairs(Concept("loud").recipe(situations, pairs, 0.7, 50, 0), [Planted()])
        assert len(made) == pairs
        counts = [sum(cell.domain == domain for cell in made) for domain in domains]
        assert max(counts) - min(counts) <= 1
        assert len({cell.scenario for cell in made}) == min(pairs, len(situations))


def test_each_pair_of_words_and_writer_has_a_file_of_its_own() -> None:
    files = {
        concept.file(writers)
        for concept in (Concept("loud"), Concept("loud", "soft"), Concept("loud soft"), Concept("laut!", "leise"))
        for writers in (["a"], ["b"], ["a", "b"], ["m@http://127.0.0.1:1/v1"])
    }
    assert len(files) == 16
    assert Concept("loud", "soft").file(["a"]) in files
    assert all(file.name.startswith(("loud-", "laut-")) for file in files)


def test_texts_that_hold_a_word_of_the_concept_are_counted_whole_words_only() -> None:
    pair = Pair("Be patient, please.", "I am waiting.")
    pairs = [pair, replace(pair, positive="An impatient PATIENT."), replace(pair, negative="Patiently."), pair]
    assert Concept("patient").named(pairs) == (4, 0)
    assert Concept("calm", "impatient").named(pairs) == (1, 0)
    assert Concept("at ease").named([replace(pair, negative="He is at  ease now."), pair]) == (0, 1)
