"""Keyword ablation, and the lists of keywords."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localprobe.errors import DataError
from localprobe.probing.keywords import KEYWORD_LISTS, read_keywords
from localprobe.probing.lexical import ablate, ablate_pairs, lexical

WORDS = {"care": "heed", "reach out": "write", "reach": "touch", "sorry": "regretful"}


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        ("I care.", "I heed.", 1),
        ("Care, CARE and caRe", "Heed, HEED and heed", 3),
        ("careful scare self-care", "careful scare self-heed", 1),  # whole words only
        ("I reach out; you reach", "I write; you touch", 2),  # the longer one first
        ("sorry's sorry_ 'sorry'", "regretful's sorry_ 'regretful'", 2),
        ("nothing", "nothing", 0),
        ("", "", 0),
    ],
)
def test_whole_words_give_way_and_keep_their_case(text: str, expected: str, count: int) -> None:
    assert ablate(text, WORDS) == (expected, count)


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert ablate("a b", {"a": "b", "b": "c"}) == ("b c", 2)


def test_replacements_are_counted_by_pair() -> None:
    high, low, counts = ablate_pairs(["I care, sorry", "none"], ["Care", "nothing"], WORDS)
    assert high == ["I heed, regretful", "none"]
    assert low == ["Heed", "nothing"]
    assert counts == (3, 0)


@pytest.mark.parametrize(("shift", "reading"), [(3.0, "strong"), (0.5, "moderate"), (0.0, "weak")])
def test_the_drop_is_read_as_the_paper_reads_it(shift: float, reading: str) -> None:
    spread = np.linspace(0, 2, 15, dtype=np.float32)
    found = lexical((spread + 3, spread), (spread + np.float32(shift), spread), [2, 1] * 7 + [3], 41)
    assert found.before.auroc == 1.0
    assert found.reading == reading
    assert found.drop == pytest.approx(found.before.auroc - found.after.auroc)
    assert found.replaced == pytest.approx(1.6)
    assert found.after.interval[0] < found.after.auroc <= found.after.interval[1]


def test_the_list_of_empathy_has_the_papers_41_words() -> None:
    words = read_keywords(KEYWORD_LISTS.path("empathy"))
    assert len(words) == 41
    assert {"empathy", "compassion", "understanding"} <= set(words)
    with pytest.raises(DataError, match="no keyword list is named 'honesty': there are empathy"):
        KEYWORD_LISTS.path("honesty")


def test_lists_of_users_as_json_and_as_tabs(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"Care": "heed"}))
    (tmp_path / "a.tsv").write_text("# ours\ncare\theed\n\nreach out\twrite\n")
    assert read_keywords(tmp_path / "a.json") == {"care": "heed"}
    assert read_keywords(tmp_path / "a.tsv") == {"care": "heed", "reach out": "write"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("care\theed\ncare heed\n", "line 2: 'care heed' is not a keyword, a tab and its synonym"),
        ("care\theed\nCare\tmind\n", "line 2: 'Care' is listed twice"),
        ('{"care":\n "heed"\n "mind"}', "line 3: not JSON"),
        ('{"care": "\\ud83d"}', "half a character"),
        ("[" * 100_000, "deep"),
        ('["care"]', "not one JSON object of keywords and synonyms"),
        ('{"care": 1}', "not one JSON object of keywords and synonyms"),
        ("", "holds no keywords"),
        ('{"care": ""}', "holds an empty word"),
        ("care\ttake heed\nheed\tmind\n", "'take heed', the synonym of 'care', is or contains a keyword"),
    ],
)
def test_a_bad_list_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_keywords(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_list_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        read_keywords(tmp_path / "none.tsv")
