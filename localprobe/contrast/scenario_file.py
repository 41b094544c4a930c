"""Scenarios from a user's file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from localprobe.contrast.pairs import records
from localprobe.contrast.scenarios import Scenario
from localprobe.errors import DataError
from localprobe.store.safe_json import parse
from localprobe.store.shipped import Shipped

SITUATIONS = Shipped("set of situations", "contrast/data/situations", ".jsonl")
"""Questions and requests that can be answered in any manner, in several domains; the domains take turns."""

_REQUIRED = ("id", "situation")
_OPTIONAL = ("title", "pressure", "empathy_pressure", "question", "domain")


def read_scenarios(path: Path) -> list[Scenario]:
    """Read scenarios: a JSON list, or JSONL, of objects with `id`, `situation` and the optional fields.

    DataError names the file and the place of what cannot be read.
    """
    place, rows = ("line", records(path)) if path.suffix in (".jsonl", ".ndjson") else ("scenario", _numbered(path))
    scenarios = [_scenario(f"{path}, {place} {number}", row) for number, row in rows]
    if not scenarios:
        raise DataError(f"{path} holds no scenarios: write objects with {' and '.join(_REQUIRED)}")
    ids = [scenario.id for scenario in scenarios]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two scenarios have the id {twice!r}: give each its own")
    return scenarios


def _numbered(path: Path) -> Iterable[tuple[int, Any]]:
    try:
        values = parse(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: not UTF-8 at byte {error.start}") from error
    except DataError as error:
        raise DataError(f"{error}; name it .jsonl if it has one object per line") from error
    if not isinstance(values, list):
        raise DataError(f"{path} is a JSON {type(values).__name__}: write a list of scenarios")
    return enumerate(values, 1)


def _scenario(place: str, row: Any) -> Scenario:
    if not isinstance(row, dict):
        raise DataError(f"{place}: a {type(row).__name__}, not a JSON object")
    for name in _REQUIRED:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise DataError(f"{place}: no text {name!r}; it has {', '.join(row) or 'nothing'}")
    texts = {name: row.get(name, "") for name in (*_REQUIRED, *_OPTIONAL)}
    wrong = next((name for name, text in texts.items() if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(f"{place}: {wrong} is not a text")
    rubric = row.get("rubric") or {}
    if not isinstance(rubric, dict) or not all(isinstance(behaviour, str) for behaviour in rubric.values()):
        raise DataError(f"{place}: rubric is not an object of texts, such as {{'0': 'ignores it', '2': 'helps'}}")
    return Scenario(**texts, rubric=rubric)
