"""Texts with a rating of the behaviour that they show, e.g. 0, 1 or 2 by a scenario's rubric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localprobe.contrast.pairs import records
from localprobe.errors import DataError
from localprobe.store.shipped import Shipped
from localprobe.suggest import shown

_LARGEST = 1e15  # of a rating: sums and squares of ratings stay exact enough, and finite
RATED_SETS = Shipped("set of rated texts", "contrast/data/rated", ".jsonl")


@dataclass(frozen=True, slots=True)
class Rated:
    """A text and its rating."""

    text: str
    score: float
    scenario: str = ""
    id: str = ""


def read_rated(
    path: Path, *, text_field: str = "text", score_field: str = "score", scenario_field: str = "scenario"
) -> list[Rated]:
    """Read rated texts from a JSONL file. DataError names the line of what cannot be read."""
    rated = []
    for number, record in records(path):
        for field in (text_field, score_field):
            if field not in record:
                raise DataError(f"{path}, line {number}: no field {field!r}; it has {', '.join(record) or 'none'}")
        text, score = record[text_field], record[score_field]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}, line {number}: {text_field} is {shown(text)}, not a text")
        if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) <= _LARGEST:
            raise DataError(f"{path}, line {number}: {score_field} is {shown(score)}, not a number below {_LARGEST:g}")
        rated.append(Rated(text, float(score), str(record.get(scenario_field) or ""), str(record.get("id", number))))
    if not rated:
        raise DataError(
            f"{path} holds no rated texts: write one JSON object per line, with {text_field} and {score_field}"
        )
    return rated
