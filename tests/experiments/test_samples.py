"""Reading generations, whole, torn and broken."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from localprobe.errors import DataError
from localprobe.experiments.outcomes import Sample
from localprobe.experiments.samples import read_samples

LINE: dict[str, Any] = {"model": "m", "layer": 3, "scenario": "s", "alpha": -5, "text": "I stop."}


def file_of(path: Path, *records: dict[str, Any], rest: bytes = b"") -> Path:
    path.write_bytes(b"".join(json.dumps(each).encode() + b"\n" for each in records) + rest)
    return path


def test_a_line_is_a_sample(tmp_path: Path) -> None:
    read = read_samples(file_of(tmp_path / "g.jsonl", LINE, {**LINE, "alpha": 0.5, "text": "", "reason": "length"}))
    assert read.samples == (
        Sample("m", 3, "s", -5.0, "I stop.", None, 1),
        Sample("m", 3, "s", 0.5, "", "length", 2),
    )
    assert read.torn is None


def test_other_names_of_fields(tmp_path: Path) -> None:
    record = {"model": "m", "layer": 3.0, "prompt": 12, "coefficient": 1e0, "output": "é", "text": 5, "seed": 1}
    names = {"scenario": "prompt", "alpha": "coefficient", "text": "output"}
    (sample,) = read_samples(file_of(tmp_path / "g.jsonl", record), names).samples
    assert (sample.scenario, sample.alpha, sample.text, sample.layer) == ("12", 1.0, "é", 3)


def test_unsteered_text_needs_no_layer(tmp_path: Path) -> None:
    (sample,) = read_samples(file_of(tmp_path / "g.jsonl", {**LINE, "alpha": -0.0, "layer": None})).samples
    assert sample.layer is None
    assert f"{sample.alpha:g}" == "0"


def test_marks_blank_lines_and_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    line = json.dumps({**LINE, "text": "a\u2028b"}, ensure_ascii=False).encode()
    path = tmp_path / "g.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n" + line + b"\r\n")
    read = read_samples(path)
    assert [(each.line, each.text) for each in read.samples] == [(1, "a\u2028b"), (3, "a\u2028b")]


@pytest.mark.parametrize("rest", [b'{"model": "m", "lay', '{"model": "ü'.encode()[:-1], b'{"model": "m"\n\n'])
def test_a_torn_last_line_is_passed_over_and_said(tmp_path: Path, rest: bytes) -> None:
    read = read_samples(file_of(tmp_path / "g.jsonl", LINE, LINE, rest=rest))
    assert len(read.samples) == 2
    assert read.torn == 3


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(LINE).encode())))
    assert len(read_samples(Path("-")).samples) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": "5"}, "line 2: alpha is '5', not a number"),
        ({"alpha": None}, "line 2: alpha is None, not a number"),
        ({"alpha": True}, "line 2: alpha is True, not a number"),
        ({"alpha": float("nan")}, "line 2: alpha is nan, not a finite number"),
        ({"alpha": float("inf")}, "line 2: alpha is inf, not a finite number"),
        (
            {"alpha": 10**400},
            f"line 2: the number 1{'0' * 23}... (401 digits) is too large: write one below 1e308",
        ),
        ({"layer": None}, "line 2: layer is None, not the number of a block, from 0"),
        ({"layer": "12"}, "line 2: layer is '12', not the number of a block, from 0"),
        ({"layer": 1.5}, "line 2: layer is 1.5, not the number of a block, from 0"),
        ({"layer": -1}, "line 2: layer is -1, not the number of a block, from 0"),
        ({"layer": True}, "line 2: layer is True, not the number of a block, from 0"),
        ({"model": ""}, "line 2: model is '', not a name"),
        ({"model": None}, "line 2: model is None, not a name"),
        ({"scenario": ["a"] * 50}, "line 2: scenario is a list, not a name"),
        ({"text": None}, "line 2: text is None, not a text"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_number(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_samples(file_of(tmp_path / "g.jsonl", LINE, {**LINE, **change}, LINE))
    assert str(caught.value) == f"{tmp_path / 'g.jsonl'}, {message}"


@pytest.mark.parametrize("field", LINE)
def test_a_missing_field_is_named_beside_those_that_are_there(tmp_path: Path, field: str) -> None:
    record = {name: value for name, value in LINE.items() if name != field}
    with pytest.raises(DataError) as caught:
        read_samples(file_of(tmp_path / "g.jsonl", LINE, record))
    assert f"line 2: no field '{field}'; it has {', '.join(record)} (--{field}-field" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no samples: write one JSON object per line, with model, layer, scenario, alpha, text"),
        (b"\n \n", "holds no samples: write"),
        (b'{"model": "m', "holds no samples but an incomplete line: write"),
        (b"not json\n{}\n", "line 1: not JSON"),
        (b'{"a": "\xff"}\n{}\n', "line 1: byte 0xff is not UTF-8"),
        (b'{"a": "\\ud83d"}\n{}\n', 'line 1: "\\ud83d" is half a character'),
        (b"[1]\n{}\n", "line 1: a list, not a JSON object"),
        (b"[" * 100_000 + b"\n{}\n", "line 1: lists and objects lie more than 200 deep"),
        (b"{}\n5\n", "line 1: no field 'alpha'; it has none"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "g.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_samples(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        read_samples(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        read_samples(tmp_path)


def test_a_long_name_of_a_field_is_cut_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(json.dumps({"t" * 5000: "x", "alpha": 0}) + "\n")
    with pytest.raises(DataError) as raised:
        read_samples(file)
    assert len(str(raised.value)) < 300
