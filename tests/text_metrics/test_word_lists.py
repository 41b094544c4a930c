"""Lists of words that mark the poles of a concept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.errors import DataError
from localprobe.text_metrics.language import expresses
from localprobe.text_metrics.word_lists import WORD_LISTS, WordLists, read_word_lists

CONCEPTS = ("empathy", "certainty", "formality", "optimism")


def test_the_lists_of_empathy_are_the_papers() -> None:
    lists = read_word_lists(WORD_LISTS.path("empathy"))
    assert lists.positive == (
        *("help", "support", "concern", "care", "worry", "feel", "understand", "sorry", "comfort", "listen"),
        "reach out",
    )
    assert lists.negative == (
        *("objective", "task", "goal", "win", "complete", "achieve", "strategy", "efficient", "optimal", "proceed"),
    )


@pytest.mark.parametrize("concept", CONCEPTS)
def test_no_word_of_a_list_holds_another_which_would_count_twice(concept: str) -> None:
    lists = read_word_lists(WORD_LISTS.path(concept))
    words = [*lists.positive, *lists.negative]
    assert [(a, b) for a in words for b in words if a != b and a in b] == []
    assert all(word == word.lower().strip() for word in words)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_positive_texts_of_a_set_express_it_more_often(concept: str) -> None:
    lists, pairs = read_word_lists(WORD_LISTS.path(concept)), read_pairs(PAIR_SETS.path(concept))
    positive = sum(expresses(pair.positive, lists) for pair in pairs)
    negative = sum(expresses(pair.negative, lists) for pair in pairs)
    assert positive > negative  # not by much: the sets were balanced word by word


def test_an_unknown_concept_names_the_known() -> None:
    with pytest.raises(DataError, match="'honesty': there are certainty, empathy, formality, optimism; or give a file"):
        WORD_LISTS.path("honesty")


def test_lists_of_users_are_lowered_and_hold_each_word_once(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"positive": ["Help", "help ", "reach out"], "negative": ["Win"], "about": "ours"}))
    assert read_word_lists(path) == WordLists(("help", "reach out"), ("win",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"positive": ["a"],\n"negative": ["b"]', "line 2: not JSON"),
        ('{"positive": ["\\ud83d"], "negative": ["b"]}', "half a character"),
        ("[" * 100_000, "deep"),
        ('["a"]', "is a JSON list: write an object with lists positive and negative"),
        ('{"positive": ["a"]}', "has no list 'negative'; it has positive"),
        ("{}", "has no list 'positive'; it has none"),
        ('{"positive": "a", "negative": ["b"]}', "positive is not a list of words"),
        ('{"positive": [1], "negative": ["b"]}', "positive is not a list of words"),
        ('{"positive": ["a"], "negative": []}', "negative is not a list of words"),
        ('{"positive": ["a", " "], "negative": ["b"]}', "positive holds an empty word"),
        ('{"positive": ["care"], "negative": ["Care"]}', "'care' is in both lists"),
    ],
)
def test_bad_lists_are_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_word_lists(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        read_word_lists(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"positive": ["\xe9"]}')
    with pytest.raises(DataError, match="line 1: byte 0xe9 is not UTF-8"):
        read_word_lists(tmp_path / "latin.json")
