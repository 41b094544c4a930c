"""TOML files that say something wrong: the file, the place, the key, the value, and what to write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from localprobe.errors import DataError, UsageError
from localprobe.store.toml import Table, read_toml

Size = Annotated[int, Meta(ge=1)]


class Box(Table):
    size: Size
    colour: Literal["red", "blue"] | None = None
    weights: Annotated[tuple[Size, ...], Meta(min_length=1)] = (1,)
    depth: Annotated[float, Meta(ge=0, le=1)] | None = None
    place: Annotated[int | Literal["top"], Meta(description='a place: write 3 or "top"')] = "top"

    def __post_init__(self) -> None:
        if self.size == 13:
            raise UsageError("size: nobody wants 13")


class Shelf(Table):
    boxes: tuple[Box, ...] = ()
    top: Box | None = None
    labels: Annotated[dict[str, str], Meta(description="a table of texts")] | None = None
    lit: bool = False
    height: float = 1.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shelf.toml"


def test_a_file_becomes_values_of_their_types(path: Path) -> None:
    path.write_text('\ufefflit = true\n[top]\nsize = 3\ncolour = "red"\n[[boxes]]\nsize = 1\n[[boxes]]\nsize = 2\n')
    shelf = read_toml(path, Shelf)
    assert shelf.lit is True
    assert shelf.top == Box(3, "red")
    assert shelf.boxes == (Box(1), Box(2))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lit = 1", ": lit: 1 is not true or false"),
        ("top = 1", ": top: 1 is not a table"),
        ("boxes = 1", ": boxes: 1 is not a list of tables, each under its name in [[ ]]"),
        ("boxes = [1]", ": boxes: 1 is not a table"),
        ("[[boxes]]\nsize = 1\n[[boxes]]\nsize = 0", ", boxes 2: size: 0 is not a whole number of 1 or more"),
        ('[[boxes]]\nsize = 1\ncolour = "green"', ", boxes 1: colour: 'green' is not one of blue, red"),
        ("[[boxes]]\nsize = 1\nweights = [1, 2, 0]", ", boxes 1: weights: 0 is not a whole number of 1 or more"),
        ("[[boxes]]\nsize = 1\nweights = []", ", boxes 1: weights: [] is not a list with something in it"),
        ("[[boxes]]\n", ", boxes 1: size is missing"),
        ("[[boxes]]\nsize = 13", ", boxes 1: size: nobody wants 13"),
        ("[top]\n", ", [top]: size is missing"),
        ("[top]\nsize = 13", ", [top]: size: nobody wants 13"),
        ("[top]\nsize = 1.5", ", [top]: size: 1.5 is not a whole number of 1 or more"),
        ("[top]\nsize = 1\nwieghts = [1]", ", [top]: unknown key 'wieghts': did you mean 'weights'? It may be one of"),
        ("[top]\nsize = 1\ndepth = nan", ", [top]: depth: nan is not a number of 0 or more, at most 1"),
        ("[top]\nsize = 1\ndepth = [1]", ", [top]: depth: [1] is not a number of 0 or more, at most 1"),
        ("[top]\nsize = 1\nplace = 1.5", ', [top]: place: 1.5 is not a place: write 3 or "top"'),
        ("[labels]\na = 1", ": labels: {'a': 1} is not a table of texts"),
        ("dark = true", ": unknown key 'dark': it may be one of boxes, top, labels, lit, height"),
        ("[top]\nsize = 1" + "0" * 30, ", [top]: size: 1000000000000000000000000000000 is no number that can be used"),
        ("[top]\nsize = 0x" + "f" * 5000, ", [top]: size: <int> is no number that can be used"),
        (
            "[[boxes]]\nsize = 1\nweights = [1, 18446744073709551616]",
            ", boxes 1: weights: 18446744073709551616 is no number",
        ),
        ("height = inf", ": height: inf is no number that can be used"),
        ("height = 1e999", ": height: inf is no number that can be used"),
        ("lit = ", " is not TOML: Invalid value (at end of document)"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_write(path: Path, text: str, complaint: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(f"shelf.toml{complaint}")) as error:
        read_toml(path, Shelf)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_one_line(path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*shelf\.toml: No such file"):
        read_toml(path, Shelf)
    path.write_bytes(b"lit = \xff")
    with pytest.raises(DataError, match=r"shelf\.toml, line 1: byte 0xff is not UTF-8: save it as UTF-8"):
        read_toml(path, Shelf)


@pytest.mark.parametrize(
    "text",
    [
        "lit = " + "[" * 100_000,
        "lit = " + "{a=" * 10_000,
        "a." * 100_000 + "b = 1",
        "[" + "'a'. " * 5_000 + "b]",
    ],
)
def test_deep_nesting_is_one_line(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=r"shelf\.toml: lists and tables lie too deep inside each other: flatten them$"):
        read_toml(path, Shelf)


def test_a_number_of_thousands_of_digits_is_one_line(path: Path) -> None:
    path.write_text(f"lit = {'9' * 5000}")
    with pytest.raises(DataError, match=r"shelf\.toml: a number has thousands of digits: write a smaller one$"):
        read_toml(path, Shelf)
