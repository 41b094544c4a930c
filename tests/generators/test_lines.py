"""JSONL files that grow line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localprobe.errors import DataError, LocalprobeError
from localprobe.generators.lines import Lines


@pytest.fixture
def told() -> list[str]:
    return []


def test_lines_are_appended_to_what_is_there(tmp_path: Path, told: list[str]) -> None:
    path = tmp_path / "made" / "x.jsonl"
    with Lines(path, told.append) as lines:
        lines.append({"a": "é\u2028"})
    with Lines(path, told.append) as lines:
        assert lines.records == [{"a": "é\u2028"}]
        lines.append({"b": 2})
    assert [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] == [{"a": "é\u2028"}, {"b": 2}]
    assert told == []


@pytest.mark.parametrize("cut", range(19))
def test_a_torn_last_line_is_taken_off_wherever_it_was_torn(tmp_path: Path, told: list[str], cut: int) -> None:
    path = tmp_path / "x.jsonl"
    first, second = b'{"a": 1}\n', b'{"b": "\xc3\xa9\xc3\xa9 two"}\n'
    assert len(second) == 18
    path.write_bytes((first + second)[: len(first + second) - cut])
    with Lines(path, told.append) as lines:
        assert lines.records == ([{"a": 1}, {"b": "éé two"}] if cut < 2 else [{"a": 1}])
        lines.append({"c": 3})
    assert path.read_bytes() == first + (second if cut < 2 else b"") + b'{"c": 3}\n'
    assert len(told) == (1 < cut < 18)


@pytest.mark.parametrize("content", ["some prose without a newline", '{"a": 1}\nnot json\n{"b": 2}\n', "[1, 2]\n", "3"])
def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path: Path, told: list[str], content: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=r"line [12]"):
        Lines(path, told.append)
    assert path.read_text() == content


def test_a_file_that_got_no_line_is_removed(tmp_path: Path, told: list[str]) -> None:
    Lines(tmp_path / "x.jsonl", told.append).close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused_in_one_line(tmp_path: Path, told: list[str]) -> None:
    with pytest.raises(LocalprobeError, match=r"cannot write .*Is a directory"):
        Lines(tmp_path, told.append)
