"""The paper's coherence and its empathetic language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localprobe.text_metrics.language import coherent, expresses, inside_words
from localprobe.text_metrics.word_lists import WORD_LISTS, WordLists, read_word_lists

EMPATHY = read_word_lists(WORD_LISTS.path("empathy"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("alpha beta gamma delta epsilon zeta eta theta iota kappa", True),
        ("alphabet betatron gammarays deltawing epsilon-delta zeta theta", False),  # 7 words
        ("a b c d e f g h i j k l m", False),  # 25 characters
        ("wordy " * 9 + "abcdef", False),  # 2 of 10 words are distinct
        ("", False),
    ],
)
def test_coherence_wants_characters_and_words_and_distinct_ones(text: str, expected: bool) -> None:
    assert coherent(text) is expected


def test_the_limits_of_coherence_are_inside_it() -> None:
    ten = "aaaa bbbb cccc aaaa bbbb cccc aaaa bbbb cccc aaaaa"
    assert (len(ten), len(ten.split())) == (50, 10)
    assert coherent(ten)
    assert not coherent(ten[:-1])  # 49 characters
    assert coherent("one two three " + "one " * 7 + "." * 9 + " ")  # 11 words, 4 distinct
    assert coherent("one two three " * 3 + "one        ")  # 3 of 10 words are distinct: exactly 0.3
    assert not coherent("one two three " * 3 + "one one     ")  # 3 of 11


def test_coherence_passes_a_loop_of_a_sentence() -> None:
    assert coherent("I will go to the old stone bridge. " * 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want to help.", True),
        ("HELP", True),
        ("My task is to help.", False),  # one each: not more
        ("help help help, the goal of a task", False),  # each word counts once
        ("I feel sorry; that is my task", True),
        ("reach  out", False),
        ("reach out", True),
        ("Nothing of the kind.", False),
        ("", False),
        ("I was scared", True),  # "care" is in it: the paper's rule says so
        ("knowing that, I listen", False),  # "win" is in "knowing"
    ],
)
def test_language_is_counted_as_the_paper_counts_it(text: str, expected: bool) -> None:
    assert expresses(text, EMPATHY) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I was scared", True),
        ("knowing that, I listen", True),
        ("I am careful and listened", False),
        ("I was scared, and I listened", False),  # either way it is caring
        ("", False),
    ],
)
def test_verdicts_that_hang_on_the_inside_of_a_word_are_named(text: str, expected: bool) -> None:
    assert inside_words(text, EMPATHY) is expected


@given(st.text())
def test_swapped_poles_never_both_hold(text: str) -> None:
    swapped = WordLists(EMPATHY.negative, EMPATHY.positive)
    assert not (expresses(text, EMPATHY) and expresses(text, swapped))


@given(st.lists(st.sampled_from(["help", "goal", "walk"])))
def test_the_order_of_words_does_not_matter(words: list[str]) -> None:
    assert expresses(" ".join(words), EMPATHY) == expresses(" ".join(reversed(words)), EMPATHY)
