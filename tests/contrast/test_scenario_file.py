"""A user's own scenarios."""

from __future__ import annotations

from pathlib import Path

import pytest

from localprobe.contrast.scenario_file import read_scenarios
from localprobe.errors import DataError


def test_a_list_or_an_object_a_line(tmp_path: Path) -> None:
    one, two, three = tmp_path / "s.json", tmp_path / "s.jsonl", tmp_path / "s.csv"
    one.write_text('[{"id": "a", "situation": "At sea.", "question": "What now?", "mine": 1}]')
    two.write_text('{"id": "a", "situation": "At sea.", "question": "What now?"}\n')
    three.write_text("id,situation,question\na,At sea.,What now?\n")
    assert read_scenarios(one) == read_scenarios(two) == read_scenarios(three)
    assert (read_scenarios(one)[0].id, read_scenarios(one)[0].question) == ("a", "What now?")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("s.json", "[]", "holds no scenarios"),
        ("s.json", "{}", "no text 'id'; it has none"),
        ("s.json", "5", "a JSON int: write a list of objects"),
        ("s.json", '{"id": "a"}\n{"id": "b"}', "line 1: no text 'situation'; it has id"),
        ("s.json", '[\n{"id": "a"}]', "line 2: no text 'situation'; it has id"),
        ("s.json", '[{"id": "a", "situation": "\\ud83d"}]', "half a character"),
        ("s.jsonl", '{"id": "a", "situation": "x"}\n{"id": "a", "situation": "y"}', "two scenarios have the id 'a'"),
        ("s.jsonl", '{"id": "a", "situation": "x"}\nnope', "line 2: not JSON"),
        ("s.json", '[{"id": "a", "situation": "x", "pressure": 3}]', "pressure is not a text"),
        ("s.json", '[{"id": "a", "situation": "x", "rubric": {"0": 1}}]', "rubric is not an object of texts"),
        ("s.json", "[" * 100_000, "deep"),
        ("s.json", '[{"id": "\\ud800", "situation": "x"}]', "half a character"),
        ("none.json", None, "cannot read"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, name: str, content: str | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=complaint) as caught:
        read_scenarios(tmp_path / name)
    assert "\n" not in str(caught.value)
