"""From a generation to what is seen in it."""

from __future__ import annotations

from localprobe.experiments.outcomes import Sample, outcome, outcomes
from localprobe.text_metrics.word_lists import WORD_LISTS, WordLists, read_word_lists
from tests.experiments.planted import BRISK, CARING

EMPATHY = read_word_lists(WORD_LISTS.path("empathy"))


def test_the_texts_of_the_tests_are_what_they_are_called() -> None:
    caring, brisk = (outcome(Sample("m", 1, "s", 5, text, "end"), EMPATHY) for text in (CARING, BRISK))
    assert (caring.expresses, brisk.expresses) == (True, False)
    for each in (caring, brisk):
        assert each.usable
        assert (each.reasons, each.truncated, each.unfinished) == ((), False, False)


def test_a_loop_is_coherent_degenerate_and_not_usable() -> None:
    text = "I keep on and on along the road that leads there, and " + "so " * 20
    found = outcome(Sample("m", 1, "s", 5, text), EMPATHY)
    assert found.coherent
    assert found.degenerate
    assert not found.usable
    assert found.truncated is None


def test_another_concept_has_words_of_its_own() -> None:
    found = outcome(Sample("m", 1, "s", 5, "Yes, surely."), WordLists(("surely",), ("perhaps",)))
    assert found.expresses


def test_the_script_to_expect_is_that_of_the_unsteered_answers() -> None:
    seen = outcomes(
        [
            Sample("m", 1, "russian", 0, "Я остановлюсь и помогу ей."),
            Sample("m", 1, "russian", 5, "Я слушаю."),
            Sample("m", 1, "russian", -5, "I go on."),
            Sample("m", 1, "english", 5, "Я слушаю."),
        ],
        EMPATHY,
    )
    assert [each.reasons for each in seen] == [(), (), ("another script",), ("another script",)]
