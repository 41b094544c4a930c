"""Contrast pairs and plain texts: reading them, and splitting pairs into those to fit on and those to measure on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localprobe.errors import DataError
from localprobe.store.shipped import Shipped

PAIR_SETS = Shipped("contrast set", "contrast/data/pairs", ".jsonl")
TEXT_SETS = Shipped("set of texts", "contrast/data/texts", ".jsonl")
TEST_FRACTION = 0.3
"""Share of each scenario's pairs that is measured on, if not given."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that differ only in the concept."""

    positive: str
    negative: str
    scenario: str = ""
    """The situation of the pair: splits are stratified by it, and whole scenarios are held out."""
    id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """All other fields of the line."""
    line: int = 0
    """Its line in the file, from 1."""

    @property
    def hash(self) -> str:
        """Hash of the two texts, independent of their file."""
        return hashlib.sha256(f"{self.positive}\0{self.negative}".encode()).hexdigest()[:16]


def prompt_of(pair: Pair) -> str:
    """The prompt that the texts of a pair answer: its `prompt` field, or the prompt of its scenario, if that ships.

    DataError for a pair without either.
    """
    from localprobe.contrast.scenarios import scenarios

    if prompt := pair.metadata.get("prompt"):
        return str(prompt)
    if pair.scenario in scenarios():
        return scenarios()[pair.scenario].prompt()
    raise DataError(
        f"line {pair.line}: the pair has no prompt that its texts answer: add a field prompt, or take another pooling"
    )


def read_pairs(
    path: Path,
    *,
    positive_field: str = "positive",
    negative_field: str = "negative",
    scenario_field: str = "scenario",
) -> list[Pair]:
    """Read pairs from a JSONL file. DataError names the file and the line of what cannot be read."""
    pairs = []
    for number, record in records(path):
        rest = {k: v for k, v in record.items() if k not in (positive_field, negative_field, scenario_field, "id")}
        pairs.append(
            Pair(
                _text(path, number, record, positive_field),
                _text(path, number, record, negative_field),
                str(record.get(scenario_field) or ""),
                str(record.get("id", number)),
                rest,
                number,
            )
        )
    if not pairs:
        raise DataError(
            f"{path} holds no pairs: write one JSON object per line, with {positive_field} and {negative_field}"
        )
    return pairs


def write_pairs(pairs: Sequence[Pair], path: Path) -> None:
    """Write pairs as JSONL with the default field names, atomically. LocalprobeError if that fails."""
    from localprobe.store.files import write_whole

    lines = [
        {"id": p.id, "scenario": p.scenario, "positive": p.positive, "negative": p.negative, **p.metadata}
        for p in pairs
    ]
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def read_texts(path: Path) -> list[str]:
    """Read texts: one per line of a .txt file or of stdin (`-`), or the field `text` of each line of a .jsonl file.

    Empty lines of a .txt file are skipped. DataError names what cannot be read.
    """
    if path.suffix in (".jsonl", ".ndjson"):
        texts = [_text(path, number, record, "text") for number, record in records(path)]
    else:
        texts = [line for line in _lines(path) if line.strip()]
    if not texts:
        raise DataError(f"{path} holds no texts")
    return texts


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a JSONL file with their line numbers. DataError for a line that is not one."""
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}): repair or remove that line") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: a {type(record).__name__}, not a JSON object")
        yield number, record


def split(
    pairs: Sequence[Pair], *, test_fraction: float = TEST_FRACTION, seed: int = 0
) -> tuple[list[Pair], list[Pair]]:
    """Pairs to fit on and pairs to measure on: whole pairs, stratified by scenario, the same for the same seed.

    Each scenario contributes its share of test pairs, rounded so that the total is right; a scenario of a single pair
    stays in the training pairs.
    """
    import numpy as np

    if not 0 < test_fraction < 1:
        raise DataError(f"test fraction {test_fraction}: it must lie between 0 and 1")
    random = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        groups.setdefault(pair.scenario, []).append(i)
    test: set[int] = set()
    owed = 0.0
    for name in sorted(groups):
        members = random.permutation(groups[name])
        owed += len(members) * test_fraction
        take = min(round(owed), len(members) - 1)
        owed -= take
        test.update(int(i) for i in members[:take])
    train = [pair for i, pair in enumerate(pairs) if i not in test]
    return train, [pairs[i] for i in sorted(test)]


def _text(path: Path, number: int, record: dict[str, Any], name: str) -> str:
    if name not in record:
        raise DataError(f"{path}, line {number}: no field {name!r}; it has {', '.join(record) or 'none'}")
    value = record[name]
    if not isinstance(value, str):
        raise DataError(f"{path}, line {number}: {name} is a {type(value).__name__}, not a text")
    if not value.strip():
        raise DataError(f"{path}, line {number}: {name} is empty")
    return value


def _lines(path: Path) -> list[str]:
    """Lines of a file with any line endings, without a byte order mark."""
    try:
        if str(path) == "-":
            import sys

            return sys.stdin.read().splitlines()
        # Not splitlines(): a JSON string may hold U+2028 and other line separators.
        return path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: not UTF-8 at byte {error.start}") from error
