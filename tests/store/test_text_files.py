"""The same bytes are the same text, by name and by standard input."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from localprobe.errors import DataError, UsageError
from localprobe.store.text_files import InputLines, argument, read_text, split_lines


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Standard input with these bytes, on a machine whose locale is Latin-1."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="latin-1"))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\xef\xbb\xbfhello there\r\nbye\r\n", ["hello there", "bye", ""]),
        ("a\u2028b\x0bc\x0cd\x85e\x1cf\n".encode(), ["a\u2028b\x0bc\x0cd\x85e\x1cf", ""]),
        ("café\n".encode(), ["café", ""]),
        (b"old\rMac", ["old\rMac"]),
        (b"", [""]),
    ],
)
def test_lines_by_name_and_by_standard_input(
    data: bytes, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_bytes(data)
    assert split_lines(read_text(tmp_path / "t.txt")) == lines
    given(monkeypatch, data)
    assert split_lines(read_text(Path("-"))) == lines
    given(monkeypatch, data)
    assert list(InputLines()) == lines[: len(lines) - (lines[-1] == "")]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("café\n".encode("latin-1"), ", line 1: byte 0xe9 is not UTF-8: save it as UTF-8"),
        (b"one\ntwo\r\ncaf\xe9", ", line 3: byte 0xe9 is not UTF-8: save it as UTF-8"),
        (b"one\n\xed\xa0\xbd", ", line 2: byte 0xed is not UTF-8: save it as UTF-8"),
        (b"one\ntw\0o", ", line 2: a zero byte: this is no text"),
        ("one\ntwo".encode("utf-16"), " is UTF-16: save it as UTF-8"),
        ("one\ntwo".encode("utf-16-be"), " is UTF-16: save it as UTF-8"),
        ("one\ntwo".encode("utf-16-le"), " is UTF-16: save it as UTF-8"),
    ],
)
def test_what_is_not_utf_8_is_refused_with_its_place(
    data: bytes, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(DataError) as error:
        read_text(tmp_path / "t.txt")
    assert str(error.value) == f"{tmp_path / 't.txt'}{fault}"
    given(monkeypatch, data)
    with pytest.raises(DataError) as error:
        read_text(Path("-"))
    assert str(error.value) == f"standard input{fault}"


def test_a_faulty_line_of_standard_input_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"one\ncaf\xe9\nthree\n")
    lines = InputLines()
    assert next(lines) == "one"
    with pytest.raises(DataError, match=r"^standard input, line 2: byte 0xe9 is not UTF-8"):
        next(lines)
    assert list(lines) == ["three"]


@pytest.mark.parametrize(("name", "fault"), [("none.txt", "No such file"), ("", "Is a directory"), ("a\0b", "null")])
def test_a_file_that_cannot_be_read(name: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"cannot read .*: .*{fault}"):
        read_text(tmp_path / name)


def test_an_argument_is_read_as_a_line_is() -> None:
    assert argument("\ufeffcafé\u2028 😀") == "café\u2028 😀"
    with pytest.raises(UsageError, match=r"^the argument 'caf\\udce9' is not UTF-8 \(byte 0xe9\): give it as UTF-8$"):
        argument(os.fsdecode(b"caf\xe9"))
