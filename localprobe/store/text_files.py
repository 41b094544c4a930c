"""Text from outside: the same bytes are the same text from a file, from standard input (`-`) and as an argument.

Text is UTF-8. A byte order mark is dropped. A line ends with a newline or with a carriage return and a newline, and
with nothing else: U+2028, form feeds and the like are part of the text. UTF-16, other encodings and binary data are
refused with their place.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from localprobe.errors import DataError, UsageError

STDIN = "-"
_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 200  # bytes that show whether every second one is zero
_HALF = re.compile("[\ud800-\udfff]")


def read_text(path: Path) -> str:
    """The text of a file, or of standard input for `-`. DataError, with file and line, for what is not UTF-8 text."""
    return decode(read_bytes(path), place(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, or of standard input for `-`. DataError if they cannot be read."""
    try:
        return _stdin().read() if str(path) == STDIN else path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def place(path: Path) -> str:
    """The name of a file in messages."""
    return "standard input" if str(path) == STDIN else str(path)


def decode(data: bytes, where: str, *, numbered: bool = True) -> str:
    """The text of bytes. DataError starts with `where`, and with the line unless `where` has it (`numbered` False)."""
    if data.startswith(_UTF_16) or _every_second_is_zero(data):
        raise DataError(f"{where} is UTF-16: save it as UTF-8")
    data = data.removeprefix(_MARK)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        at, fault = error.start, f"byte 0x{data[error.start]:02x} is not UTF-8: save it as UTF-8"
    else:
        at = data.find(b"\0")
        if at < 0:
            return text
        fault = "a zero byte: this is no text"
    line = f", line {data.count(10, 0, at) + 1}" if numbered else ""
    raise DataError(f"{where}{line}: {fault}")


def split_lines(text: str) -> list[str]:
    """The lines of a text; what follows the last newline is one more. Not `str.splitlines`: it splits at U+2028 too."""
    return text.replace("\r\n", "\n").split("\n")


def argument(text: str) -> str:
    """An argument of the command line. UsageError for one that is not UTF-8 (Python hands on its bytes as halves of
    characters, which no tokenizer, file or terminal takes)."""
    if half := _HALF.search(text):
        byte = f"byte 0x{ord(half[0]) - 0xDC00:02x}" if "\udc80" <= half[0] <= "\udcff" else "half a character"
        raise UsageError(f"the argument {text!a} is not UTF-8 ({byte}): give it as UTF-8")
    return text.removeprefix("\ufeff")


class InputLines(Iterator[str]):
    """The lines of standard input, each as soon as it is there.

    A line that is not UTF-8 raises DataError with its number; the next call goes on with the line after it.
    """

    def __init__(self) -> None:
        self._stream, self._number = _stdin(), 0

    def __next__(self) -> str:
        line = self._stream.readline()
        if not line:
            raise StopIteration
        self._number += 1
        where = f"{place(Path(STDIN))}, line {self._number}"
        return decode(line, where, numbered=False).removesuffix("\n").removesuffix("\r")


def _stdin() -> BinaryIO:
    """Standard input as bytes; its own text layer would read by the locale, and split lines as `splitlines` does."""
    if sys.stdin is None:  # a program without a console
        return io.BytesIO()
    binary: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    # A notebook replaces it by a stream that has text only.
    return binary if binary is not None else io.BytesIO(sys.stdin.read().encode("utf-8", "surrogatepass"))


def _every_second_is_zero(data: bytes) -> bool:
    """Whether this looks like UTF-16 without a mark: letters beside zero bytes."""
    first = data[:_LOOKED_AT]
    return len(first) > 1 and any(
        half.count(0) > len(half) // 2 and other.count(0) == 0
        for half, other in ((first[::2], first[1::2]), (first[1::2], first[::2]))
    )
