"""Readers of what people type: steering expressions, and positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from localprobe.steering.lexer import LONGEST, RESERVED
from localprobe.steering.parser import parse
from localprobe.steering.places import Positions
from tests.fuzz.mutations import mutated
from tests.fuzz.registry import Reader, encoded, reader
from tests.steering.expressions import expressions, places

_SNIPPETS = [
    *(f" {word} ".encode() for word in sorted(RESERVED)),
    *(mark.encode() for mark in '[],@;:<>=+-"#\n\r\\*'),
    *("\u2212\u201c\u2028\u202e\u0000\u001b\uff20\u0663".encode().split(b"\0")),
    *(b"nan", b"-inf", b"1e999", b"-0", b"9" * 400, b"0-999", b"\xff", b'"\\ud800"', b"a" * 5000, b"a,b,c,", b"\0"),
]


def _reads(read: Callable[[str], Any]) -> Callable[[Path, bytes], None]:
    """Read the text as an argument of a command would come; what it is written as must read as the same."""

    def read_bytes(_folder: Path, data: bytes) -> None:
        value = read(data.decode(errors="surrogateescape"))
        written = str(value)
        encoded(written)
        if len(written) <= LONGEST:  # a written form may be longer than what was read
            assert read(written) == value
            assert str(read(written)) == written

    return read_bytes


@reader
def expression() -> Reader:
    """Steering expressions."""
    sound = [
        b"0.3 warm + 0.2 concise # both\n-0.1 formality @18 response when confident>fpr 0.01",
        b"ablate 0.5 refusal, hedging to mean @0-29 from 18 outside thinking",
        b'cap empathy [-1.5, fpr 0.05] @19 last 4; alpha 20 "my vector" keeping norm on "my friend" for 20 tokens',
        b"set empathy to -2 @3,1 positions -4:9 if harmful@12>3.1 when calm < 0.2 until 0.6; cap ./x.npz < fpr=0.1",
    ]
    written = expressions.map(lambda expression: str(expression).encode())
    return Reader(_reads(parse), sound, mutated(sound, snippets=_SNIPPETS) | mutated(written, snippets=_SNIPPETS))


@reader
def positions() -> Reader:
    """Positions that stand alone in an option or a file."""
    sound = [b"response outside thinking", b"first 5", b"positions 2:-10", b'on "my \\"friend\\""']
    written = places().map(lambda positions: str(positions).encode())
    inputs = mutated(sound, snippets=_SNIPPETS) | mutated(written, snippets=_SNIPPETS)
    return Reader(_reads(Positions.parse), sound, inputs)
