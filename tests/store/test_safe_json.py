"""JSON from outside: a value that can be used anywhere, or one line that says what is wrong and where."""

from __future__ import annotations

import math

import pytest

from localprobe.errors import DataError
from localprobe.store.safe_json import DEPTH, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"text": "caf\\u00e9 \\ud83d\\ude00"}', {"text": "café 😀"}),
        ('["\\\\ud83d is written with a backslash"]', ["\\ud83d is written with a backslash"]),
        (
            '{"model_max_length": 1000000000000000019884624838656}',
            {"model_max_length": 1000000000000000019884624838656},
        ),
        ("1e-999", 0.0),
        ('"' + "[" * 500 + '"', "[" * 500),
        ('[{}, {"a": []}]' + " " * 10, [{}, {"a": []}]),
    ],
)
def test_json_is_read(text: str, value: object) -> None:
    assert parse(text, "here") == value


def test_the_constants_that_python_writes_are_read() -> None:
    value = parse('{"limits": [0.0, Infinity], "score": NaN}', "config.json")
    assert value["limits"] == [0.0, math.inf] and math.isnan(value["score"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1', r"^f, line 3: not JSON \(Expecting ',' delimiter at column 8\)"),
        ("", r"^f, line 3: not JSON \(Expecting value at column 1\)"),
        ('"\\ud83d"', r'^f, line 3: "\\ud83d" is half a character'),
        ('"\\ud83d\\ud83d\\ude00"', r'^f, line 3: "\\ud83d" is half a character'),
        ('{"\\uDC00": 1}', r'^f, line 3: "\\uDC00" is half a character'),
        ('"\ud83d"', r'^f, line 3: "\\ud83d" is half a character'),
        ("[-1e999]", "^f, line 3: the number -1e999 is too large"),
        ("9" * 400, r"^f, line 3: the number 9{24}\.\.\. \(400 digits\) is too large"),
        ("9" * 5000, r"^f, line 3: the number 9{24}\.\.\. \(5000 digits\) is too large"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "^f, line 3: lists and objects lie more than 200 deep"),
        ("[" * 100_000, "^f, line 3: lists and objects lie more than 200 deep"),
        ('{"a":' * 100_000, "^f, line 3: lists and objects lie more than 200 deep"),
    ],
)
def test_a_fault_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        parse(text, "f, line 3")
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_the_deepest_nesting_allowed_is_read() -> None:
    assert parse("[" * DEPTH + "]" * DEPTH, "here")


@pytest.mark.parametrize("fault", ['"\\ud83d"', "1e999", "nil"])
def test_a_fault_in_a_document_of_several_lines_has_its_line(fault: str) -> None:
    with pytest.raises(DataError, match=r"^words\.json, line 3: "):
        parse(f'{{\n"care": "mind",\n"help": {fault}\n}}', "words.json")
