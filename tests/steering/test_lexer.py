"""Quoting, numbers, and errors that show the place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from localprobe.steering.lexer import Tokens, at, name_text, number_text, quote
from tests.steering.expressions import names, numbers, texts


def test_an_error_shows_the_expression_and_the_column() -> None:
    assert str(at("0.2 foo", 5, "no vector 'foo'")) == "\"0.2 foo\": column 5: no vector 'foo'"


def test_an_error_of_the_whole_names_no_column() -> None:
    assert str(at("0.2 foo", 0, "needs a model")) == '"0.2 foo": needs a model'


def test_of_a_long_expression_an_error_shows_what_is_around_the_column() -> None:
    text = "; ".join(f"0.2 vector{i}" for i in range(100))
    column = text.index("vector50") + 1
    message = str(at(text, column, "wrong"))
    assert message.startswith('"…') and message.endswith(f'…": column {column}: wrong')
    assert "vector50" in message
    assert len(message) < 100


def test_of_several_lines_an_error_shows_one() -> None:
    text = "# mine\n0.2 foo\n0.3 bar"
    assert str(at(text, text.index("bar") + 1, "wrong")) == '"0.3 bar": line 3, column 5: wrong'


def test_an_error_is_one_line_without_control_characters() -> None:
    message = str(at("0.2 \x1b[2J\r\u2028\u202e\ud800x", 5, "wrong"))
    assert message == '"0.2 \\x1b[2J\\r\\u2028\\u202e\\ud800x": column 5: wrong'


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("empathy", "empathy"),
        ("empathy-2.1_b", "empathy-2.1_b"),
        ("Mitgefühl", "Mitgefühl"),
        ("./a/b.safetensors", "./a/b.safetensors"),
        ("C:\\v", '"C:\\\\v"'),
        ("two words", '"two words"'),
        ("tokens", '"tokens"'),
        ("2nd", '"2nd"'),
        ("a@b", '"a@b"'),
        ("a+b", '"a+b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("\x1b\x9b\u202e", '"\\u001b\\u009b\\u202e"'),
    ],
)
def test_a_name_is_quoted_where_it_must_be(name: str, written: str) -> None:
    assert name_text(name) == written
    assert Tokens(written).name("a name") == name


@given(texts)
def test_a_quoted_text_is_printable_and_read_back(text: str) -> None:
    assert quote(text).isprintable()
    assert Tokens(quote(text)).quoted("a text") == text


@given(names)
def test_a_name_is_read_back(name: str) -> None:
    assert Tokens(name_text(name)).name("a name") == name


@given(numbers)
def test_a_number_is_read_back_and_a_zero_has_no_sign(number: float) -> None:
    read = Tokens(number_text(number)).number("to read")
    assert read == number
    assert read != 0 or math.copysign(1, read) == 1
