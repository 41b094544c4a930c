"""Ids of a rendered conversation, in which only the marks that the template wrote are special tokens.

A person may write `<|im_end|>` too. In the text of a whole conversation a tokenizer could not tell it from the end of a
turn, and the person could forge turns. So a text that holds such a mark is encoded in pieces.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np

from localprobe.chat_template import Rendered
from localprobe.engine import Engine, IntArray, Span

_CONTEXT = "\n"
"""Encoded before a piece, and taken off again, where a tokenizer would put a space before the piece."""


def encode_chat(engine: Engine, rendered: Rendered) -> IntArray:
    """Ids of a conversation, (n,) int32.

    Without special tokens in what people wrote, these are the ids of the text as it is. Else the text is split at the
    template's own marks, and what lies between two of them and holds a forged one is encoded as plain text.
    """
    ids = [
        _plain(engine, text, first=number == 0) if forged else engine.encode(text, template=True)
        for number, (text, forged) in enumerate(_stretches(rendered, engine.info.marks))
    ]
    return ids[0] if len(ids) == 1 else np.concatenate([*ids, np.zeros(0, np.int32)])


def _stretches(rendered: Rendered, marks: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """The text in stretches, and whether each holds a forged mark and must be read as plain text."""
    text, start = rendered.text, 0
    own, forged = _marks(rendered, marks)
    if not forged:
        yield text, False
        return
    edges, holds_forged = [(0, 0), *own, (len(text), len(text))], _overlap(forged)
    for (_, left), (right, _) in pairwise(edges):
        if holds_forged(left, right):
            if start < left:
                yield text[start:left], False
            yield text[left:right], True
            start = right
    if start < len(text):
        yield text[start:], False


def _marks(rendered: Rendered, marks: tuple[str, ...]) -> tuple[list[Span], list[Span]]:
    """The marks in a text that the template wrote, and those of which a person wrote at least a part."""
    own: list[Span] = []
    forged: list[Span] = []
    pattern, is_content = _pattern(marks), _overlap(rendered.contents)
    at = 0
    while pattern and (match := pattern.search(rendered.text, at)):
        start, stop = match.start(), match.start() + len(match.group(1))
        if is_content(start, stop):
            forged.append((start, stop))
            at = start + 1  # another mark may begin inside this one
        else:
            own.append((start, stop))
            at = stop
    return own, forged


def _overlap(spans: Sequence[Span]) -> Callable[[int, int], bool]:
    """Whether [start, stop) overlaps one of the spans, which begin in ascending order."""
    starts, reach = [start for start, _ in spans], [*accumulate((stop for _, stop in spans), max)]

    def overlaps(start: int, stop: int) -> bool:
        before = bisect_left(starts, stop)
        return before > 0 and reach[before - 1] > start

    return overlaps


def _plain(engine: Engine, text: str, *, first: bool) -> IntArray:
    """Ids of a piece of plain text, which follows other pieces if it is not the first."""
    if first or _space_after_marks(engine):
        return _without_bos(engine, text)
    context, whole = _without_bos(engine, _CONTEXT), _without_bos(engine, _CONTEXT + text)
    alike = np.array_equal(whole[: len(context)], context)
    return whole[len(context) :] if alike else _without_bos(engine, text)


def _space_after_marks(engine: Engine) -> bool:
    """Whether a word after a special token is encoded as it is at the beginning of a text."""
    for mark in engine.info.marks:
        first = engine.encode(mark, template=True)
        if len(first) == 1:
            after = engine.encode(f"{mark}a", template=True)
            return np.array_equal(np.concatenate([first, _without_bos(engine, "a")]), after)
    return True


def _without_bos(engine: Engine, text: str) -> IntArray:
    ids = engine.encode(text)
    return ids[1:] if engine.info.bos is not None else ids


def alternatives(marks: Iterable[str]) -> str:
    """A regular expression that any of the marks fits, the longest first; empty if there are none."""
    return "|".join(map(re.escape, sorted(filter(None, marks), key=lambda mark: (-len(mark), mark))))


@lru_cache(maxsize=8)
def _pattern(marks: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds marks without consuming them."""
    any_mark = alternatives(marks)
    return re.compile(f"(?=({any_mark}))") if any_mark else None
