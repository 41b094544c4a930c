"""Scenarios from a user's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localprobe.contrast.pairs import records
from localprobe.contrast.scenarios import Scenario
from localprobe.errors import DataError
from localprobe.store.shipped import Shipped

SITUATIONS = Shipped("set of situations", "contrast/data/situations", ".jsonl")
"""Questions and requests that can be answered in any manner, in several domains; the domains take turns."""

_REQUIRED = ("id", "situation")
_OPTIONAL = ("title", "pressure", "empathy_pressure", "question", "domain")


def read_scenarios(path: Path) -> list[Scenario]:
    """Read scenarios: a JSON list, or JSONL, of objects with `id` and `situation`, and what else a scenario has.

    DataError names the file and the place of what cannot be read.
    """
    if path.suffix in (".jsonl", ".ndjson"):
        found = [(f"line {number}", record) for number, record in records(path)]
    else:
        found = [(f"scenario {number}", each) for number, each in enumerate(_list(path), 1)]
    scenarios = [_scenario(f"{path}, {place}", each) for place, each in found]
    if not scenarios:
        raise DataError(f"{path} holds no scenarios: write objects with {' and '.join(_REQUIRED)}")
    ids = [each.id for each in scenarios]
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two scenarios have the id {twice!r}: give each its own")
    return scenarios


def _list(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): name it .jsonl if it has an object a line") from error
    if not isinstance(found, list):
        raise DataError(f"{path} is a JSON {type(found).__name__}: write a list of scenarios")
    return found


def _scenario(place: str, found: Any) -> Scenario:
    if not isinstance(found, dict):
        raise DataError(f"{place}: a {type(found).__name__}, not a JSON object")
    for name in _REQUIRED:
        if not isinstance(found.get(name), str) or not found[name].strip():
            raise DataError(f"{place}: no text {name!r}; it has {', '.join(found) or 'nothing'}")
    texts = {name: found.get(name, "") for name in (*_REQUIRED, *_OPTIONAL)}
    wrong = next((name for name, text in texts.items() if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(f"{place}: {wrong} is not a text")
    rubric = found.get("rubric")
    return Scenario(**texts, rubric=rubric if isinstance(rubric, dict) else {})
