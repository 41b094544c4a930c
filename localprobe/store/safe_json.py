"""JSON that a person or another program wrote: every fault is one line, and what is read can be written again.

    parse('{"text": "a"}', "mine.jsonl, line 3")      the value
    parse('{"text": "\\ud83d"}', "mine.jsonl, line 3")  DataError: mine.jsonl, line 3: "\\ud83d" is half a character ...

`json.loads` alone lets through half characters, which no tokenizer, file or terminal takes; numbers that no float can
hold; and nesting that later code does not survive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from localprobe.errors import DataError

DEPTH = 200
"""The most levels of lists and objects inside each other."""

_DIGITS = 308  # the largest float has 309 digits
_SHOWN = 24
# Every escape is consumed whole: neither an escaped backslash nor the second half of a pair is taken for a half.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")


def parse(text: str, where: str, *, whole: bool = False) -> Any:
    """The value of one JSON document.

    `where` names the file, and its line if the document is one line of it. For a document of several lines, or if it is
    the `whole` file, the line of a fault is added. DataError, `where: ...`, for what is not JSON, half a character (a
    lone surrogate), a number that no float holds, and nesting deeper than `DEPTH`. `NaN` and `Infinity` are read, since
    Python writes them (and the configurations of some models hold them): a reader of numbers checks that they are
    finite.
    """
    whole = whole or "\n" in text.strip()

    def place(position: int) -> str:
        return f"{where}, line {text.count(chr(10), 0, position) + 1}" if whole else where

    if half := _HALF.search(text):
        raise DataError(f"{place(half.start())}: {_half(half[0])}")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        fault = error.msg.removesuffix(" at")
        raise DataError(
            f"{place(error.pos)}: not JSON ({fault} at column {error.colno}): repair or remove it"
        ) from error
    except _OutOfRange as error:
        at = place(text.find(error.number))
        raise DataError(f"{at}: the number {_short(error.number)} is too large: write one below 1e308") from error
    except RecursionError as error:
        raise DataError(f"{where}: {_DEEP}") from error
    if text.count("[") + text.count("{") > DEPTH and _too_deep(value):
        raise DataError(f"{where}: {_DEEP}")
    if _HALF_ESCAPE.search(text) and (found := next((m for m in _ESCAPE.finditer(text) if m[1]), None)):
        raise DataError(f"{place(found.start())}: {_half(found[0])}")
    return value


_DEEP = f"lists and objects lie more than {DEPTH} deep inside each other: flatten them"


class _OutOfRange(Exception):
    def __init__(self, number: str) -> None:
        super().__init__(number)
        self.number = number


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _OutOfRange(digits)
    return number


def _int(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise _OutOfRange(digits)
    return int(digits)


_DECODER = json.JSONDecoder(parse_float=_float, parse_int=_int)


def _too_deep(value: Any) -> bool:
    """Whether values lie deeper than `DEPTH`; level by level, since recursion is what deep values break."""
    level: Iterable[Any] = ((value,),)
    for _ in range(DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _half(half: str) -> str:
    escaped = half if half.startswith("\\") else f"\\u{ord(half):04x}"
    return f'"{escaped}" is half a character (a lone surrogate): write the whole character, or remove it'


def _short(number: str) -> str:
    return number if len(number) <= _SHOWN else f"{number[:_SHOWN]}... ({len(number)} digits)"
