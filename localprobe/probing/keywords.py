"""Lists of a concept's keywords and their synonyms: shipped ones, and users' files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from localprobe.errors import DataError
from localprobe.store.safe_json import parse
from localprobe.store.shipped import Shipped
from localprobe.store.text_files import read_text, split_lines

KEYWORD_LISTS = Shipped("keyword list", "contrast/data/keywords", ".json")
"""By concept."""


def read_keywords(path: Path) -> dict[str, str]:
    """Keyword -> synonym from a file: one JSON object, or one pair per line separated by a tab.

    Empty lines and lines that start with # are ignored. DataError names the file, the line and the fault.
    """
    text = read_text(path)
    return checked(_json(path, text) if text.lstrip().startswith(("{", "[")) else _lines(path, text), str(path))


def checked(words: Mapping[str, str], source: str) -> dict[str, str]:
    """The list with keywords in lower case. DataError if it is empty, or a synonym contains a keyword."""
    from localprobe.probing.lexical import ablate

    lowered = {word.strip().lower(): synonym.strip() for word, synonym in words.items()}
    if not lowered or not all(lowered) or not all(lowered.values()):
        raise DataError(f"{source} holds {'an empty word' if lowered else 'no keywords'}: give keywords and synonyms")
    for word, synonym in lowered.items():
        if ablate(synonym, lowered)[1]:
            raise DataError(
                f"{source}: {synonym!r}, the synonym of {word!r}, is or contains a keyword, which would remain"
            )
    return lowered


def _json(path: Path, text: str) -> dict[str, str]:
    words = parse(text, str(path), whole=True)
    if not isinstance(words, dict) or not all(isinstance(synonym, str) for synonym in words.values()):
        raise DataError(f"{path} is not one JSON object of keywords and synonyms, such as {{'care': 'mind'}}")
    return words


def _lines(path: Path, text: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for number, line in enumerate(split_lines(text), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.strip().split("\t")
        if len(parts) != 2:
            raise DataError(f"{path}, line {number}: {line.strip()!r} is not a keyword, a tab and its synonym")
        if parts[0].strip().lower() in words:
            raise DataError(f"{path}, line {number}: {parts[0]!r} is listed twice: keep one")
        words[parts[0].strip().lower()] = parts[1]
    return words
