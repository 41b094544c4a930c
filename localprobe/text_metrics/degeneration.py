"""Degenerate text, by several measures: no single one detects an empty answer, a loop, a code snippet and a slip into
another script.

Repeated n-grams and distinct-n are the usual ones (Welleck et al. 2020, arXiv 1908.04319; Li et al. 2016, arXiv
1510.03055), the compression ratio is Whisper's (Radford et al. 2022, arXiv 2212.04356). The limits were set so that
prose of 20 to 300 words practically never exceeds one; a test checks every text that ships. Of 6,541 sayings of 20 to
300 words from Debian's `fortunes`, 84 exceed one: song refrains, plays on words, program code and ASCII art. No measure
here detects fluent nonsense, words in a random order, or another language in the same script: that takes a model's
perplexity.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from localprobe.contrast.words import words as words_of

LATIN = "LATIN"

REPEATED = 0.25
"""Share of repeated 4-grams: more is degenerate."""
DISTINCT_2 = 0.65
"""Distinct pairs of neighbouring words / pairs: less is degenerate, from 20 words on."""
RUN = 6
"""This many repeats of one word in a row are degenerate, and so are 3 that make up half of the text."""
LOOP = 24
"""Words in a phrase repeated at least 3 times in a row: degenerate from this many, or from 6 if they are half of the
text."""
COMPRESSION = 0.35
"""Compressed / raw bytes: less is degenerate. With zlib's header, a short text gets this low only if it is a loop."""
CODE = 0.2
"""Share of the pieces between white space that look like code."""
FOREIGN = 0.2
"""Share of letters in another script."""

_PHRASE = 40  # words in the longest phrase that a loop is looked for with
_TIMES = 3
_ENDINGS = ".!?\u2026\u3002\uff01\uff1f\u061f\u0964"
_CLOSING = " \t\r\n\"'\u2019\u201d\u00bb)]*_`"
_CODE = re.compile(r"\w_\w|\w\(|[{}]|;$|```|<[/|]?\w+\|?>|[=!+:-]=|[-=]>|::|\w=\S|^=$|\w\[\w*\]")
_SAME_SCRIPT = dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"), "CJK")


@dataclass(frozen=True, slots=True)
class Degeneration:
    """The measures of one text. Shares lie in [0, 1]."""

    words: int
    repeated_4grams: float
    """Share of the 4-grams of words that occur earlier in the text."""
    distinct_1: float
    """Distinct words / words. It falls with the length of any text, so it has no limit here."""
    distinct_2: float
    """Distinct pairs of neighbouring words / pairs."""
    longest_run: int
    """Length of the longest run of one repeated word."""
    longest_loop: int
    """Words in the longest stretch that repeats one phrase at least three times in a row."""
    compression: float
    """Bytes after zlib / bytes before; near 1 or above for short texts."""
    code: float
    """Share of the pieces between white space that look like code: `open_door`, `move(north)`, braces, operators."""
    foreign: float
    """Share of the letters in another script than the expected one."""
    empty: bool
    """Whether the text is only white space."""
    truncated: bool | None
    """Whether the answer was cut at the limit of tokens; None if not known. It is no sign of degeneration."""
    unfinished: bool
    """Whether the text does not end like a sentence: a guess at `truncated`, wrong for lists and poems."""
    reasons: tuple[str, ...]
    """What is wrong with the text, in words; empty if it is not degenerate."""

    @property
    def degenerate(self) -> bool:
        """Whether any measure exceeds its limit."""
        return bool(self.reasons)


def degeneration(text: str, *, script: str = LATIN, reason: str | None = None) -> Degeneration:
    """Measure a text. `script` is what it should be written in (see `script_of`), `reason` why its decoding ended:
    "length" and "context" are truncation, None is not known."""
    words = words_of(text)
    raw = text.encode("utf-8", "replace")
    result = Degeneration(
        words=len(words),
        repeated_4grams=1 - _distinct(words, 4),
        distinct_1=_distinct(words, 1),
        distinct_2=_distinct(words, 2),
        longest_run=_longest_loop(words, 1, times=1),
        longest_loop=_longest_loop(words, _PHRASE, times=_TIMES),
        compression=len(zlib.compress(raw, 9)) / len(raw) if raw else 1.0,
        code=_code(text),
        foreign=_foreign(text, script),
        empty=not text.strip(),
        truncated=None if reason is None else reason in ("length", "context"),
        unfinished=bool(text.strip()) and not text.rstrip(_CLOSING).endswith(tuple(_ENDINGS)),
        reasons=(),
    )
    return replace(result, reasons=tuple(_reasons(result)))


def script_of(texts: Iterable[str]) -> str:
    """The script of most letters of some texts, as Unicode names it: "LATIN", "CYRILLIC", "CJK" (Chinese and Japanese
    together), ... "LATIN" if there are no letters. Take it from a prompt, or from unsteered answers."""
    counts = _scripts("".join(texts))
    return max(sorted(counts), key=counts.__getitem__, default=LATIN)


def _reasons(result: Degeneration) -> Iterator[str]:
    if result.empty:
        yield "empty"
        return
    if not result.words:
        yield "no words"
    half = result.words / 2
    if result.longest_run >= RUN or result.longest_run >= max(_TIMES, half):
        yield "one word over and over"
    elif result.longest_loop >= LOOP or result.longest_loop >= max(6, half):
        yield "one phrase over and over"
    if result.repeated_4grams > REPEATED:
        yield "repeated 4-grams"
    if result.words >= 20 and result.distinct_2 < DISTINCT_2:
        yield "few distinct word pairs"
    if result.compression < COMPRESSION:
        yield "compresses too well"
    if result.code > CODE:
        yield "looks like code"
    if result.foreign > FOREIGN:
        yield "another script"


def _distinct(words: Sequence[str], n: int) -> float:
    """Distinct n-grams / n-grams; 1 if there are none."""
    count = len(words) - n + 1
    return len(set(zip(*(words[i:] for i in range(n)), strict=False))) / count if count > 0 else 1.0


def _longest_loop(words: Sequence[str], longest_phrase: int, *, times: int) -> int:
    """Words in the longest stretch that repeats a phrase of at most `longest_phrase` words at least `times` times."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
    longest = 0
    for period in range(1, min(longest_phrase, len(ids) // times) + 1):
        differs = np.flatnonzero(ids[period:] != ids[:-period])
        edges = np.concatenate(([-1], differs, [len(ids) - period]))
        stretch = int(np.diff(edges).max()) - 1 + period
        if stretch >= times * period:
            longest = max(longest, stretch)
    return longest


def _code(text: str) -> float:
    pieces = text.split()
    return sum(_CODE.search(piece) is not None for piece in pieces) / len(pieces) if pieces else 0.0


def _foreign(text: str, script: str) -> float:
    counts = _scripts(text)
    return 1 - counts[script] / counts.total() if counts else 0.0


def _scripts(text: str) -> Counter[str]:
    """Letters of a text by script."""
    scripts: Counter[str] = Counter()
    for letter, count in Counter(unicodedata.normalize("NFKC", text)).items():
        if letter.isalpha():
            name = unicodedata.name(letter, "UNKNOWN").split(" ")[0]
            scripts[_SAME_SCRIPT.get(name, name)] += count
    return scripts
