"""Reading generations from JSONL, one per line, with configurable field names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from localprobe.contrast.tables import listed
from localprobe.errors import DataError
from localprobe.experiments.outcomes import Sample
from localprobe.store.safe_json import parse
from localprobe.store.text_files import decode, place, read_bytes
from localprobe.suggest import shown

FIELDS = ("model", "layer", "scenario", "alpha", "text")


@dataclass(frozen=True, slots=True)
class SampleFile:
    """The samples of a file."""

    samples: tuple[Sample, ...]
    torn: int | None
    """The number of an incomplete last line, as a killed process leaves it, which was ignored."""


def read_samples(path: Path, names: Mapping[str, str] | None = None) -> SampleFile:
    """Read generations from a file, or from stdin if it is `-`: one JSON object per line with model, layer, scenario,
    alpha and text. `names` maps these fields to other names that the file uses.

    A `text` may be empty. A `layer` may be null where alpha is 0. A `reason` (why decoding ended) is read if there is
    one. Raises DataError that names the file, the line and the fault, or if the file holds no samples.
    """
    called = {field: field for field in FIELDS} | dict(names or {})
    lines = [(number, line) for number, line in enumerate(read_bytes(path).split(b"\n"), 1) if line.strip()]
    samples, torn = [], None
    for number, line in lines:
        where = f"{place(path)}, line {number}"
        try:
            record = parse(decode(line, where, numbered=False), where)
        except DataError:
            if number == lines[-1][0] and not _is_json(line):
                torn = number
                continue
            raise
        samples.append(_Line(path, number, record, called).sample())
    if not samples:
        raise DataError(
            f"{path} holds no samples{' but an incomplete line' if torn else ''}: write one JSON object per line, with "
            f"{', '.join(called.values())}"
        )
    return SampleFile(tuple(samples), torn)


class _Line:
    """One line, read field by field."""

    def __init__(self, path: Path, number: int, record: Any, called: Mapping[str, str]) -> None:
        self._place, self._number, self._called = f"{place(path)}, line {number}", number, called
        if not isinstance(record, dict):
            raise DataError(f"{self._place}: a {type(record).__name__}, not a JSON object")
        self._record = record

    def sample(self) -> Sample:
        reason = self._record.get("reason")
        alpha = self._alpha()
        return Sample(
            model=self._name("model"),
            layer=self._layer(alpha),
            scenario=self._name("scenario"),
            alpha=alpha,
            text=self._text(),
            reason=reason if isinstance(reason, str) else None,
            line=self._number,
        )

    def _value(self, field: str) -> Any:
        name = self._called[field]
        if name not in self._record:
            has = f"it has {listed(self._record)}"
            raise DataError(f"{self._place}: no field {name!r}; {has} (--{field}-field gives another name)")
        return self._record[name]

    def _wrong(self, field: str, value: Any, expected: str) -> DataError:
        text = shown(value)
        text = text if len(text) <= 40 else f"a {type(value).__name__}"
        return DataError(f"{self._place}: {self._called[field]} is {text}, not {expected}")

    def _name(self, field: str) -> str:
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise self._wrong(field, value, "a name")
        return str(value).encode("utf-8", "replace").decode()

    def _text(self) -> str:
        value = self._value("text")
        if not isinstance(value, str):
            raise self._wrong("text", value, "a text")
        return value

    def _alpha(self) -> float:
        value = self._value("alpha")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong("alpha", value, "a number")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if not isfinite(number):
            raise self._wrong("alpha", value, "a finite number")
        return number + 0.0  # -0.0 is 0

    def _layer(self, alpha: float) -> int | None:
        value = self._value("layer")
        if value is None and alpha == 0:
            return None
        is_integer = (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
        if not is_integer or value < 0:
            raise self._wrong("layer", value, "the number of a block, from 0")
        return int(value)


def _is_json(line: bytes) -> bool:
    """Whether a line is whole, whatever else is wrong with it."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
