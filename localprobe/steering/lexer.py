"""The words, numbers, quotes and marks of the steering language, and errors that name a column.

A column is the 1-based place of a character in the whole text; `at` turns it into line and column where there are
several lines. A quoted text is a JSON string.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeVar

from localprobe.errors import UsageError
from localprobe.suggest import one_line, shown

T = TypeVar("T")

LONGEST = 100_000
"""Characters of an expression; over 10,000 terms fit, and any text is read or refused within a second or so."""
LARGEST = 999_999_999
"""The largest whole number: of positions, tokens, layers."""
_SHOWN = 70  # characters of the expression that an error shows

ACTIONS = ("alpha", "ablate", "cap", "set")
PLACES = ("all", "prompt", "response", "first", "last", "positions", "on")
CLAUSES = (*PLACES, "outside", "for", "if", "when")
RESERVED = frozenset(
    {*ACTIONS, *CLAUSES, "keeping", "norm", "to", "mean", "from", "thinking", "tokens", "until", "fpr"}
)
"""Words of the language; a vector or probe of such a name is quoted."""

_WORD = r"(?:[^\W\d]|\.{0,2}/|~/)[\w./~-]*"  # a name, or a path that needs no quotes
_TOKEN = re.compile(
    rf"""(?P<blank>(?:[^\S\n]|\#[^\n]*)+)
    | (?P<newline>\n)
    | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<word>{_WORD})
    | (?P<quoted>"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*")
    | (?P<mark>[][@,;:<>=+-])""",
    re.VERBOSE,
)
_NAME = re.compile(_WORD)
_AFTER_NUMBER = re.compile(r"[\w.]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
NO_NUMBER = frozenset({"nan", "inf", "infinity"})
"""Words that other languages read as numbers."""
_LOOK_ALIKES = (
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a'`", '"')
    | {"\u2264": "<", "\u2265": ">", "*": "a space", "\u00d7": "a space"}
)


class Token(NamedTuple):
    """A piece of the text."""

    kind: str
    """`word`, `number`, `quoted`, `mark`, `newline`, or `end`."""
    text: str
    """As written; empty at the end."""
    column: int

    def __str__(self) -> str:
        return {"end": "the end", "newline": "the end of the line"}.get(self.kind) or shown(self.text)


class Tokens:
    """The tokens of a text, read one by one, with the one that comes next in view."""

    def __init__(self, text: str) -> None:
        """UsageError for a text that is longer than LONGEST, and for what is no text."""
        if not isinstance(text, str):
            raise UsageError(f"{shown(text)} is of type {type(text).__name__}: give a text of the steering language")
        self.text = text
        self._place = 0
        if len(text) > LONGEST:
            raise self.error(
                1, f"it has {len(text):,} characters, more than the {LONGEST:,} that an expression may have"
            )
        if half := _SURROGATE.search(text):
            raise self.error(half.start() + 1, "half of a surrogate pair, which no text has")
        self.next = self._read()

    def error(self, column: int, message: str) -> UsageError:
        """An error at a column of this text."""
        return at(self.text, column, message)

    def fail(self, message: str) -> NoReturn:
        """UsageError at the next token."""
        raise self.error(self.next.column, message)

    def take(self) -> Token:
        """The next token, and on to the one after it."""
        token = self.next
        self.next = self._read()
        return token

    def takes(self, *texts: str) -> str:
        """The next token's text if it is one of these words or marks, which is taken; empty if not."""
        if self.next.text in texts and self.next.kind in ("word", "mark", "newline"):
            return self.take().text
        return ""

    def expect(self, text: str, why: str) -> None:
        """Take this word or mark; UsageError that says `why` if something else is next."""
        if not self.takes(text):
            self.fail(f"expected {text!r} {why}, not {self.next}")

    def built(self, column: int, make: Callable[..., T], *values: object) -> T:
        """What `make` makes of the values; what it refuses is an error at the column."""
        try:
            return make(*values)
        except UsageError as error:
            raise self.error(column, str(error)) from error

    def number(self, what: str) -> float:
        """A finite number, with a sign or without; `what` says what it is for."""
        column, sign = self.next.column, self.takes("+", "-")
        token = self.next
        if token.kind == "word" and token.text.lower() in NO_NUMBER:
            raise self.error(column, f"{shown(sign + token.text)} is no finite number")
        if token.kind != "number":
            self.fail(f"expected a number {what}, not {token}{_hint(sign, token)}")
        if sign and token.column != column + 1:
            raise self.error(column, f"write {shown(sign + token.text)} without a space after the sign")
        value = float(sign + self.take().text)
        if not math.isfinite(value):
            raise self.error(column, f"{shown(sign + token.text)} is no finite number")
        return value

    def whole(self, what: str, *, signed: bool = False) -> int:
        """A whole number of at most LARGEST, negative only if `signed`."""
        column, sign = self.next.column, self.takes("-") if signed else ""
        token = self.next
        if token.kind != "number" or not token.text.isdecimal():
            self.fail(f"expected a whole number {what}, not {token}")
        if len(token.text) > len(str(LARGEST)):
            raise self.error(column, f"{token} is larger than {LARGEST:,}")
        self.take()
        return -int(token.text) if sign else int(token.text)

    def name(self, what: str) -> str:
        """A name, a path or a quoted text; `what` says what it is for."""
        token = self.next
        if token.kind == "quoted":
            return self.quoted(what)
        if token.kind != "word":
            self.fail(f"expected {what}, not {token}")
        if token.text in RESERVED:
            self.fail(
                f"expected {what}, but '{token.text}' is a word of the language: a name is quoted, \"{token.text}\""
            )
        return self.take().text

    def quoted(self, what: str) -> str:
        """A quoted text that is not empty."""
        token = self.next
        if token.kind != "quoted":
            self.fail(f"expected {what} in double quotes, not {token}")
        self.take()
        try:
            text = str(json.loads(token.text, strict=False))
        except ValueError:
            raise self.error(token.column, f"a wrong escape in {token}: a backslash is written \\\\") from None
        if fault := unusable(text):
            raise self.error(token.column, f"{token} {fault}")
        return text

    def _read(self) -> Token:
        while (found := _TOKEN.match(self.text, self._place)) and found.lastgroup == "blank":
            self._place = found.end()
        column = self._place + 1
        if self._place == len(self.text):
            return Token("end", "", column)
        if found is None:
            raise self.error(column, self._about_character(self.text[self._place]))
        kind, text = str(found.lastgroup), found.group()
        self._place = found.end()
        if kind == "number" and (more := _AFTER_NUMBER.match(self.text, self._place)):
            written = shown(text + more.group()[:_SHOWN])
            raise self.error(
                column, f"{written} is no number: put a space after a number, and quote a name that begins with a digit"
            )
        return Token(kind, text, column)

    def _about_character(self, character: str) -> str:
        if character == '"':
            return 'this " is not closed: write another " on the same line, and \\" for one inside the quotes'
        wide = unicodedata.normalize("NFKC", character)
        if meant := _LOOK_ALIKES.get(character) or (wide if wide != character and wide in '[]@,;:<>=+-"#' else ""):
            named = unicodedata.name(character, "")
            return (
                f"{shown(character)}{f' ({named})' if not character.isascii() else ''} is not used here: type {meant}"
            )
        return f'{shown(character)} has no meaning here; a name or path with such a character is quoted with "..."'


def at(text: str, column: int, message: str) -> UsageError:
    """The error at a 1-based column of an expression: the text around it, the column, and the message, in one line.

    Column 0 stands for the whole text, as in an expression that was built in Python.
    """
    place = max(column - 1, 0)
    start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    line = text[start : end if end >= 0 else len(text)]
    shown_text = one_line(_around(line, place - start))
    if not column:
        return UsageError(f'"{shown_text}": {message}')
    number = f"line {text.count(chr(10), 0, place) + 1}, " if "\n" in text else ""
    return UsageError(f'"{shown_text}": {number}column {place - start + 1}: {message}')


def quote(text: str) -> str:
    """The text in double quotes; what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in json.dumps(text, ensure_ascii=False))


def name_text(name: str) -> str:
    """A name as it is written: in quotes where it must be."""
    return name if _NAME.fullmatch(name) and name not in RESERVED else quote(name)


def number_text(value: float) -> str:
    """A number as it is written: the shortest text that reads as the same float64."""
    return repr(value + 0.0).removesuffix(".0")  # -0.0 + 0.0 is 0.0


def unusable(text: str) -> str:
    """Why a text can be no name and no text of a prompt, as a verb and what follows; empty if it can."""
    if not text.strip():
        return "is empty"
    return "has half of a surrogate pair" if _SURROGATE.search(text) else ""


def _around(line: str, place: int) -> str:
    """At most _SHOWN characters of a line, a place among them."""
    start = max(0, min(place - _SHOWN // 2, len(line) - _SHOWN))
    return ("…" if start else "") + line[start : start + _SHOWN] + ("…" if start + _SHOWN < len(line) else "")


def _hint(sign: str, token: Token) -> str:
    return ": there is no >= or <=, write > or <" if token.text == "=" and not sign else ""
