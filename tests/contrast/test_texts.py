"""Texts out of files and out of standard input: the same bytes are the same texts."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from localprobe.contrast.pairs import read_texts
from localprobe.errors import DataError

STATEMENTS = 'statement,label\n"Water is wet, mostly.",1\n"Fire is cold.",0\n'
WET = ["Water is wet, mostly.", "Fire is cold."]


def file(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("t.txt", "\ufeffhello there\r\nbye\r\n", ["hello there", "bye"]),
        ("t.txt", "a\u2028b one text\ntwo\n", ["a\u2028b one text", "two"]),
        ("t.json", '[\n  "You feel furious.",\n  "You feel calm."\n]', ["You feel furious.", "You feel calm."]),
        ("t.json", '[{"text": "a", "mood": "b"}]', ["a"]),
        ("t.json", '{"sentences": ["a", "b"]}', ["a", "b"]),
        ("t.jsonl", '{"text": "a\u2028b"}\n{"text": "c"}\n', ["a\u2028b", "c"]),
        ("t.csv", STATEMENTS, WET),
        ("t.csv", "n,words,label\n1,Hello,true\n2,Bye,false\n", ["Hello", "Bye"]),
        ("t.csv", "author,sentence\nme,Hello\n", ["Hello"]),
    ],
)
def test_texts_by_name_and_by_standard_input(
    name: str, content: str, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_texts(file(tmp_path, name, content)) == texts
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode()), encoding="latin-1"))
    assert read_texts(Path("-")) == texts


def test_a_field_is_chosen(tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv", "question,answer\nWho?,Me.\nWhere?,Here.\n")
    assert read_texts(path, "answer") == ["Me.", "Here."]
    with pytest.raises(DataError, match=r"line 2: no field 'text': say by `text_field` which of question, answer$"):
        read_texts(path)
    with pytest.raises(DataError, match="line 2: no field 'mood'; it has question, answer"):
        read_texts(path, "mood")
    with pytest.raises(DataError, match="lines of text have no field 'answer': leave out `text_field`"):
        read_texts(file(tmp_path, "t.txt", "Me.\n"), "answer")


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("t.json", '["a",\n3]', r"line 2: a int, not a JSON object|line 2: the text is a int"),
        ("t.json", "[1, 2]", "item 1: the text is a int, not a text"),
        ("t.json", '["a",\n" "]', "line 2: the text is empty"),
        ("t.jsonl", '{"text": "a"}\n{"text": null}', "line 2: text is null, not a text"),
        ("t.jsonl", '{"text": "\\ud83d"}', "line 1: .* is half a character"),
        ("t.csv", "a,b\n1,2\n", "line 2: no field 'text': say by `text_field` which holds the texts; it has a, b"),
        ("t.json", "[]", "holds no texts"),
        ("t.xlsx", "PK", r"files of the kind \.xlsx are not read"),
    ],
)
def test_what_is_no_text_is_named_with_its_line(name: str, content: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=fault) as error:
        read_texts(file(tmp_path, name, content))
    assert "\n" not in str(error.value)
