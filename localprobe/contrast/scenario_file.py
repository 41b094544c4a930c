"""Scenarios from a user's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localprobe.contrast.scenarios import Scenario
from localprobe.contrast.tables import listed, read_table
from localprobe.errors import DataError
from localprobe.store.shipped import Shipped

SITUATIONS = Shipped("set of situations", "contrast/data/situations", ".jsonl")
"""Questions and requests that can be answered in any manner, in several domains; the domains take turns."""

_REQUIRED = ("id", "situation")
_OPTIONAL = ("title", "pressure", "empathy_pressure", "question", "domain")


def read_scenarios(path: Path) -> list[Scenario]:
    """Read scenarios: a JSON list, JSONL or CSV of objects with `id`, `situation` and the optional fields.

    DataError names the file and the place of what cannot be read.
    """
    scenarios = [_scenario(place, row) for place, _, row in read_table(path).objects()]
    if not scenarios:
        raise DataError(f"{path} holds no scenarios: write objects with {' and '.join(_REQUIRED)}")
    ids = [scenario.id for scenario in scenarios]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two scenarios have the id {twice!r}: give each its own")
    return scenarios


def _scenario(place: str, row: dict[str, Any]) -> Scenario:
    for name in _REQUIRED:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise DataError(f"{place}: no text {name!r}; it has {listed(row)}")
    texts = {name: row.get(name, "") for name in (*_REQUIRED, *_OPTIONAL)}
    wrong = next((name for name, text in texts.items() if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(f"{place}: {wrong} is not a text")
    rubric = row.get("rubric") or {}
    if not isinstance(rubric, dict) or not all(isinstance(behaviour, str) for behaviour in rubric.values()):
        raise DataError(f"{place}: rubric is not an object of texts, such as {{'0': 'ignores it', '2': 'helps'}}")
    return Scenario(**texts, rubric=rubric)
