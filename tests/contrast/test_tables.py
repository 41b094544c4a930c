"""Rows of files: where they begin, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from localprobe.contrast.pairs import read_pairs
from localprobe.contrast.tables import listed, read_table
from localprobe.errors import DataError


def file(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def rows(path: Path) -> list[tuple[int, Any]]:
    return [(row.number, row.value) for row in read_table(path).rows]


@pytest.mark.parametrize(
    ("name", "content", "form", "expected"),
    [
        ("t.jsonl", '\n{"a": 1}\r\n\r\n{"a": 2}\n', "JSONL", [(2, {"a": 1}), (4, {"a": 2})]),
        ("t.json", '{"a": 1}\n{"a": 2}\n', "JSONL", [(1, {"a": 1}), (2, {"a": 2})]),
        ("t.jsonl", '[\n {"a": 1},\n {"a":\n 2}\n]', "a JSON array", [(2, {"a": 1}), (3, {"a": 2})]),
        ("t.json", '[{"a": "[,"}, {"a": 2}]', "a JSON array", [(1, {"a": "[,"}), (2, {"a": 2})]),
        ("t.json", '\ufeff["one",\n"two"]', "a JSON array", [(1, "one"), (2, "two")]),
        ("t.json", '{\n"a": 1\n}', "JSON", [(1, {"a": 1})]),
        ("t.json", "[]", "a JSON array", []),
        ("t.csv", "\ufeffa,b\r\n1,2\r\n", "CSV", [(2, {"a": "1", "b": "2"})]),
        (
            "t.csv",
            'a,b\n"two\r\nlines","a ""quote"", a comma"\n\n,,\nx,\u2028y\n'.replace(",,", ","),
            "CSV",
            [(2, {"a": "two\nlines", "b": 'a "quote", a comma'}), (6, {"a": "x", "b": "\u2028y"})],
        ),
        ("t.csv", "a;b\n1,5;2\n", "CSV", [(2, {"a": "1,5", "b": "2"})]),
        ("t.csv", ",a\n0,x\n", "CSV", [(2, {"a": "x"})]),  # pandas writes its index without a name
        ("t.tsv", 'a\tb\n"x, ""y"""\tz\n', "TSV", [(2, {"a": 'x, "y"', "b": "z"})]),
        ("t", '{"a": 1}\n{"a": 2}\n', "JSONL", [(1, {"a": 1}), (2, {"a": 2})]),
        ("t", "a,b\n1,2\n", "CSV", [(2, {"a": "1", "b": "2"})]),
        ("t.data", '{"a": 1}\n{"a": 2}\n', "JSONL", [(1, {"a": 1}), (2, {"a": 2})]),
    ],
)
def test_rows_and_their_lines(
    name: str, content: str, form: str, expected: list[tuple[int, Any]], tmp_path: Path
) -> None:
    path = file(tmp_path, name, content)
    assert read_table(path).form == form
    assert rows(path) == expected


def test_rows_on_one_line_are_numbered_by_their_place(tmp_path: Path) -> None:
    path = file(tmp_path, "t.json", '[{"positive": "a", "negative": "b"}, {"positive": "c"}]')
    with pytest.raises(DataError, match=r"t\.json, item 2: no field 'negative'; it has positive"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("t.csv", 'a,b\n"x,y\nz,w\n', ", line 2: a quote is not closed, or a text has over 131072 characters"),
        ("t.csv", 'a,b\nx,"' + "y" * 200_000 + '"\n', ", line 2: a quote is not closed, or a text has over"),
        ("t.csv", "a,b\nI am, truly, sorry\n", ", line 2: 3 cells, but the header has 2: put a text that holds ','"),
        ("t.csv", "a,b\n\nx\n", ", line 3: 1 cells, but the header has 2"),
        ("t.csv", 'a,b\nx,"y"z\n', ", line 2: ',' expected after '\"'"),
        ("t.csv", "a,b\nx,y\rz\n", ", line 2: a carriage return outside quotes"),
        ("t.csv", "a,a\nx,y\n", ", line 1: the header has 'a' twice: rename one"),
        ("t.json", '[\n{"a": 1},\n{"a": }\n]', ", line 3: not JSON (Expecting value at column 7)"),
        ("t.json", '[{"a": 1}\n', ", line 2: not JSON"),
        ("t.json", '{"a": 1}\n{"a": \n', ", line 2: not JSON"),
        ("t.json", '[\n{"a": "\\udc00"}\n]', ', line 2: "\\udc00" is half a character'),
        ("t.jsonl", '{"a": 1}\n{"a": 1e999}\n', ", line 2: the number 1e999 is too large"),
        ("t.jsonl", '{"a": 1}\n' + "[" * 100_000, ", line 2: lists and objects lie more than 200 deep"),
        ("t.json", "5", " is a JSON int: write a list of objects, or one object per line"),
    ],
)
def test_a_fault_is_one_line_with_its_place(name: str, content: str, fault: str, tmp_path: Path) -> None:
    path = file(tmp_path, name, content)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert str(error.value).startswith(f"{path}{fault}")
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(path)) + 200


@pytest.mark.parametrize("name", ["t.xlsx", "t.zip", "t.pkl", "t.jsonl.gz", "t.txt", "t.yaml"])
def test_other_kinds_of_file_are_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04\xff\x00")
    with pytest.raises(DataError, match=rf"files of the kind {path.suffix} are not read: save it as \.jsonl, \.json, "):
        read_table(path)
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        read_table(tmp_path / f"none{path.suffix}")


def test_parquet_is_read_by_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"prompt": ["Hi", None], "chosen": ["a", "b"], "score": [1.5, np.nan]})
    chat = [np.array([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "c"}], dtype=object)] * 2
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame.assign(rejected=["c", "d"], chat=chat))
    path = file(tmp_path, "t.parquet", "PAR1")
    first, second = read_pairs(path)
    assert (first.positive, first.negative, first.line, second.line) == ("a", "c", 1, 2)
    assert first.metadata == {"prompt": "Hi", "score": 1.5, "chat": [dict(m) for m in chat[0]]}
    assert second.metadata["prompt"] is None and second.metadata["score"] is None
    assert read_table(path).form == "Parquet"


def test_parquet_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, "t.parquet", "PAR1")
    with pytest.raises(DataError, match=r"cannot read .*none\.parquet: No such file"):
        read_table(tmp_path / "none.parquet")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        DataError, match=r"t\.parquet: reading Parquet needs two libraries: run pip install pandas pyarr"
    ):
        read_table(path)


def test_names_of_fields_are_listed_on_one_line() -> None:
    assert listed(["a", "b\nc", "x" * 50]) == r"a, b\nc, " + "x" * 40 + "..."
    assert listed([str(i) for i in range(2000)]).endswith("18, 19 and 1,980 more")
    assert listed([]) == "none"
