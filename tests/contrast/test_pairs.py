"""Contrast pairs and texts from files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localprobe.contrast.pairs import PAIR_SETS, Pair, read_pairs, read_texts, split
from localprobe.errors import DataError

LINE = '{"positive": "yes", "negative": "no", "scenario": "maze", "generator": "me"}'


def file(folder: Path, text: str, name: str = "pairs.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_a_pair_keeps_its_other_fields_and_its_line(tmp_path: Path) -> None:
    (pair,) = read_pairs(file(tmp_path, "\n" + LINE))
    assert (pair.positive, pair.negative, pair.scenario, pair.line) == ("yes", "no", "maze", 2)
    assert pair.metadata == {"generator": "me"}


def test_pairs_in_the_papers_field_names_load_as_they_are(tmp_path: Path) -> None:
    path = file(tmp_path, '{"empathic_text": "a", "non_empathic_text": "b", "scenario_id": "duel"}\n')
    (pair,) = read_pairs(
        path, positive_field="empathic_text", negative_field="non_empathic_text", scenario_field="scenario_id"
    )
    assert (pair.positive, pair.negative, pair.scenario) == ("a", "b", "duel")


@pytest.mark.parametrize("text", ["\ufeff" + LINE, LINE + "\r\n" + LINE + "\r\n", LINE.replace("yes", "y\u2028s")])
def test_marks_and_line_ends_of_other_systems_are_no_matter(tmp_path: Path, text: str) -> None:
    assert read_pairs(file(tmp_path, text))[0].scenario == "maze"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LINE + "\n{oops", r"line 2: not JSON"),
        (LINE + '\n{"positive": "to', r"line 2: not JSON"),
        ("[1, 2]", r"item 1: a int, not a JSON object"),
        (LINE + "\n[1, 2]", r"line 2: a list, not a JSON object"),
        ('{"positive": "a", "text": "b"}', r"line 1: no field 'negative'; it has positive, text"),
        ('{"positive": " ", "negative": "b"}', r"line 1: positive is empty"),
        ('{"positive": 3, "negative": "b"}', r"line 1: positive is a int, not a text"),
        ("", r"holds no pairs"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_pairs(file(tmp_path, text))


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none.jsonl: No such file"):
        read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is UTF-16: save it as UTF-8"):
        read_pairs(tmp_path / "b.jsonl")


def test_texts_a_line_each_or_by_field(tmp_path: Path) -> None:
    assert read_texts(file(tmp_path, "one\n\ntwo\n", "t.txt")) == ["one", "two"]
    assert read_texts(file(tmp_path, '{"text": "one\\nline"}\n', "t.jsonl")) == ["one\nline"]
    with pytest.raises(DataError, match="holds no texts"):
        read_texts(file(tmp_path, "\n", "t.txt"))


def test_a_set_that_does_not_ship_lists_those_that_do() -> None:
    with pytest.raises(
        DataError, match="no contrast set is named 'kindness': there are certainty, empathy, formality, optimism"
    ):
        PAIR_SETS.path("kindness")


def pairs(counts: dict[str, int]) -> list[Pair]:
    return [Pair(f"{s} {i} +", f"{s} {i} -", s, f"{s}{i}") for s, n in counts.items() for i in range(n)]


def test_a_split_keeps_every_scenario_in_proportion() -> None:
    train, test = split(pairs({"a": 10, "b": 10, "c": 10}), test_fraction=0.3)
    assert Counter(p.scenario for p in test) == {"a": 3, "b": 3, "c": 3}
    assert len(train) == 21


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9), min_size=1), st.floats(0.05, 0.9), st.integers(0, 9)
)
def test_every_pair_is_on_one_side_and_no_scenario_is_all_test(
    counts: dict[str, int], fraction: float, seed: int
) -> None:
    everything = pairs(counts)
    train, test = split(everything, test_fraction=fraction, seed=seed)
    assert Counter(p.id for p in train + test) == Counter(p.id for p in everything)
    assert {p.scenario for p in train} == set(counts)
    assert split(everything, test_fraction=fraction, seed=seed) == (train, test)


def test_another_seed_is_another_split() -> None:
    everything = pairs({"a": 20})
    assert split(everything, seed=1) != split(everything, seed=2)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_a_fraction_lies_between_0_and_1(fraction: float) -> None:
    with pytest.raises(DataError, match="must lie between 0 and 1"):
        split(pairs({"a": 4}), test_fraction=fraction)


def test_a_pair_is_known_by_its_texts() -> None:
    assert Pair("a", "b").hash == Pair("a", "b", "maze", "7").hash != Pair("b", "a").hash
