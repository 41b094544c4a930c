"""Word lists that mark a text as one pole of a concept or the other: the paper's for empathy, ours for other concepts,
or a user's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.contrast.tables import listed
from localprobe.errors import DataError
from localprobe.store.safe_json import parse
from localprobe.store.shipped import Shipped
from localprobe.store.text_files import read_text

WORD_LISTS = Shipped("set of word lists", "contrast/data/word_lists", ".json")
"""By concept."""


@dataclass(frozen=True, slots=True)
class WordLists:
    """Words or parts of words in lower case, searched for anywhere in a text, inside other words too."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def read_word_lists(path: Path) -> WordLists:
    """The lists in a file: a JSON object with `positive` and `negative`, lists of words. DataError in one line."""
    return _checked(parse(read_text(path), str(path), whole=True), str(path))


def _checked(content: Any, source: str) -> WordLists:
    if not isinstance(content, dict):
        raise DataError(
            f"{source} is a JSON {type(content).__name__}: write an object with lists positive and negative"
        )
    lists = WordLists(_words(content, "positive", source), _words(content, "negative", source))
    if both := set(lists.positive) & set(lists.negative):
        raise DataError(f"{source}: {min(both)!r} is in both lists: keep it in one")
    return lists


def _words(lists: dict[str, Any], pole: str, source: str) -> tuple[str, ...]:
    """The words of a pole in lower case, each once."""
    if pole not in lists:
        raise DataError(f"{source} has no list {pole!r}; it has {listed(lists)}")
    words = lists[pole]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise DataError(f"{source}: {pole} is not a list of words, such as ['help', 'listen']")
    if not all(word.strip() for word in words):
        raise DataError(f"{source}: {pole} holds an empty word, which every text would contain: remove it")
    return tuple(dict.fromkeys(word.strip().lower() for word in words))
