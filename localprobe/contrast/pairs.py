"""Contrast pairs and plain texts: reading them, and splitting pairs into those to fit on and those to measure on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localprobe.contrast.shapes import Fields, Poles, holds_prompt, poles, shape_of
from localprobe.contrast.tables import Table, listed, read_table
from localprobe.contrast.texts import texts_of
from localprobe.errors import DataError
from localprobe.store.shipped import Shipped
from localprobe.store.text_files import place

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
        """Hash of the two texts, independent of their file; and of the prompt of single words, such as (A) or Yes,
        which many pairs of a set share."""
        prompt = f"\0{self.metadata['prompt']}" if self.answers_in_a_word else ""
        return _hash(f"{self.positive}\0{self.negative}{prompt}")

    @property
    def hashes(self) -> frozenset[str]:
        """Every hash by which a probe may know the pair: of probes before 0.2, that of the texts alone."""
        return frozenset({self.hash, _hash(f"{self.positive}\0{self.negative}")})

    @property
    def answers_in_a_word(self) -> bool:
        """Whether both texts are single words that say nothing without their prompt."""
        return bool(self.metadata.get("prompt")) and all(
            len(text.split()) == 1 for text in (self.positive, self.negative)
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prompt_of(pair: Pair) -> str:
    """The prompt that the texts of a pair answer: its `prompt` field, or the prompt of its scenario, if that ships.

    DataError for a pair without either.
    """
    from localprobe.contrast.scenarios import scenarios

    if prompt := pair.metadata.get("prompt"):
        if not isinstance(prompt, str):
            raise DataError(f"line {pair.line}: the prompt of the pair is a {type(prompt).__name__}, not a text")
        return prompt
    if pair.scenario in scenarios():
        return scenarios()[pair.scenario].prompt()
    raise DataError(
        f"line {pair.line}: the pair has no prompt that its texts answer: add a field prompt, or take another pooling"
    )


@dataclass(frozen=True, slots=True)
class ReadPairs:
    """The pairs of a set, and how it was read."""

    source: str
    """The file, in messages."""
    pairs: list[Pair]
    shape: str
    """The file's form and the fields of both texts and of the prompt, in words."""
    notes: tuple[str, ...] = ()
    """What was left out."""


def read_pairs(path: Path, **fields: str | None) -> list[Pair]:
    """Read pairs from JSONL, JSON, CSV, TSV or Parquet, or from standard input for `-`, in any of the known shapes (see
    `localprobe.contrast.shapes`).

    `positive_field`, `negative_field`, `scenario_field` and `prompt_field` name the fields of another shape. DataError
    names the file and the line of what cannot be read.
    """
    return read_set(path, **fields).pairs


def read_set(path: Path, **fields: str | None) -> ReadPairs:
    """As `read_pairs`, with the shape that the file was read in."""
    return pairs_of(read_table(path), Fields.of(**fields))


def pairs_of(table: Table, fields: Fields) -> ReadPairs:
    """The pairs of a table. DataError names the row of what is no pair."""
    if not table.rows:
        names = f"{fields.positive or 'positive'} and {fields.negative or 'negative'}"
        raise DataError(f"{table.source} holds no pairs: write one JSON object per line, with {names}")
    first = next(table.objects())
    shape = shape_of(list(first[2]), fields, first[0])
    table = table.unrolled(shape.positive, shape.negative)
    read = [(number, poles(values, shape, place), values) for place, number, values in table.objects()]
    scenario = fields.scenario or "scenario"
    if fields.scenario and not any(scenario in values for _, _, values in read):
        raise DataError(f"{table.source} has no field {scenario!r}: give `scenario_field` one of {listed(first[2])}")
    pairs = [_pair(number, row, values, scenario) for number, row, values in read]
    chat = " of chat messages" if any(row.chat for _, row, _ in read) else ""
    prompt = next((name for name in shape.prompts if any(holds_prompt(values, name) for _, _, values in read)), None)
    told = f"{table.form}{chat}, {shape.name}: {shape.positive} and {shape.negative}"
    earlier = [number for number, row, _ in read if row.earlier]
    note = f"{len(earlier)} pairs have turns before the last prompt, which are left out (first in {table.unit} "
    return ReadPairs(
        table.source,
        pairs,
        f"{told}, prompts from {prompt}" if prompt else told,
        (f"{note}{earlier[0]})",) if earlier else (),
    )


def _pair(number: int, row: Poles, values: Mapping[str, Any], scenario: str) -> Pair:
    name = values.get("id")
    return Pair(
        row.positive,
        row.negative,
        str(values.get(scenario) or ""),
        str(number if name is None else name),
        {key: value for key, value in row.rest.items() if key not in (scenario, "id")},
        number,
    )


def write_pairs(pairs: Sequence[Pair], path: Path) -> None:
    """Write pairs as JSONL with the default field names, atomically. LocalprobeError if that fails."""
    from localprobe.store.files import write_whole

    lines = [
        {"id": p.id, "scenario": p.scenario, "positive": p.positive, "negative": p.negative, **p.metadata}
        for p in pairs
    ]
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def read_texts(path: Path, text_field: str | None = None) -> list[str]:
    """Read texts: the lines of a .txt file, or a JSON array of strings, or the texts of JSONL, JSON, CSV, TSV or
    Parquet, of which `text_field` names the field. Without it that is `text`, or the only one that it can be.

    Standard input (`-`) is JSON if it begins as JSON does, CSV if its first line is a header (words between commas),
    and lines otherwise. Empty lines are skipped. DataError names what cannot be read.
    """
    texts = texts_of(path, text_field)
    if not texts:
        raise DataError(f"{place(path)} holds no texts")
    return texts


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
