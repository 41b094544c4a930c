"""What a reader is to the fuzz suite, and the list of them.

A reader gets a folder of its own and the bytes, and does with them what localprobe does with such a file: it reads it,
and what it returns must be fit to be used (encoded, written again).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.mutations import Input


@dataclass(frozen=True)
class Reader:
    """What reads, what it is given, and the errors that it may raise besides LocalprobeError."""

    read: Callable[[Path, bytes], object]
    sound: Sequence[bytes]
    inputs: st.SearchStrategy[Input]
    allowed: tuple[type[BaseException], ...] = ()


READERS: dict[str, Callable[[], Reader]] = {}
"""Readers by name; made when they are needed."""


def reader(make: Callable[[], Reader]) -> Callable[[], Reader]:
    """Register a reader under the name of its function."""
    READERS[make.__name__] = cache(make)
    return READERS[make.__name__]


def file_reader(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """A reader of one file of that name."""

    def read_bytes(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return read_bytes


def encoded(value: object) -> None:
    """Every text inside a value must have a form in UTF-8, or files, tokenizers and terminals refuse it later."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        encoded([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for part in value:
            encoded(part)
    elif hasattr(value, "__dataclass_fields__"):
        encoded([getattr(value, name) for name in value.__dataclass_fields__])


def emptied(folder: Path) -> Path:
    """The folder without anything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
