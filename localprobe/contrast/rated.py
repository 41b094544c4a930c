"""Texts with a rating of the behaviour that they show, e.g. 0, 1 or 2 by a scenario's rubric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.contrast.shapes import text as checked
from localprobe.contrast.tables import listed, read_table
from localprobe.errors import DataError
from localprobe.store.shipped import Shipped
from localprobe.suggest import shown

_LARGEST = 1e15  # squares and sums of ratings stay finite
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
    """Read rated texts from JSONL, JSON, CSV, TSV or Parquet. DataError names the line of what cannot be read."""
    rated = []
    for place, number, record in read_table(path).objects():
        for field in (text_field, score_field):
            if field not in record:
                raise DataError(f"{place}: no field {field!r}; it has {listed(record)}")
        text = checked(record[text_field], place, text_field)
        score = _number(record[score_field], f"{place}: {score_field}")
        rated.append(Rated(text, score, str(record.get(scenario_field) or ""), str(record.get("id", number))))
    if not rated:
        raise DataError(
            f"{path} holds no rated texts: write one JSON object per line, with {text_field} and {score_field}"
        )
    return rated


def _number(value: Any, what: str) -> float:
    """A number of ordinary size; in CSV, every cell is a string."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise DataError(f"{what} is {shown(value)}, not a number up to {_LARGEST:g}")
    return number
