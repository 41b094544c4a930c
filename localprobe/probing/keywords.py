"""Lists of a concept's keywords with a synonym each: one that ships, and files that users write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from localprobe.errors import DataError
from localprobe.store.shipped import Shipped

KEYWORD_LISTS = Shipped("keyword list", "contrast/data/keywords", ".json")
"""By concept."""


def read_keywords(path: Path) -> dict[str, str]:
    """Keyword -> synonym from a file: one JSON object, or a line each with a tab between the two.

    Lines that are empty or start with # are passed over. DataError names the file, the line and what is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: not UTF-8 at byte {error.start}") from error
    return checked(_json(path, text) if text.lstrip().startswith(("{", "[")) else _lines(path, text), str(path))


def checked(words: Mapping[str, str], source: str) -> dict[str, str]:
    """The list with keywords in lower case. DataError if it is empty, or a synonym holds a keyword itself."""
    from localprobe.probing.lexical import ablate

    lowered = {word.strip().lower(): synonym.strip() for word, synonym in words.items()}
    if not lowered or not all(lowered) or not all(lowered.values()):
        raise DataError(f"{source} holds {'an empty word' if lowered else 'no keywords'}: give keywords and synonyms")
    for word, synonym in lowered.items():
        if ablate(synonym, lowered)[1]:
            raise DataError(f"{source}: {synonym!r}, the synonym of {word!r}, is or holds a keyword: it would stay in")
    return lowered


def _json(path: Path, text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}, line {getattr(error, 'lineno', 1)}: not JSON ({error}): repair that line") from error
    if not isinstance(found, dict) or not all(isinstance(synonym, str) for synonym in found.values()):
        raise DataError(f"{path} is not one JSON object of keywords and synonyms, such as {{'care': 'mind'}}")
    return found


def _lines(path: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.strip().split("\t")
        if len(parts) != 2:
            raise DataError(f"{path}, line {number}: {line.strip()!r} is not a keyword, a tab and its synonym")
        if parts[0].strip().lower() in found:
            raise DataError(f"{path}, line {number}: {parts[0]!r} stands there a second time: keep one")
        found[parts[0].strip().lower()] = parts[1]
    return found
