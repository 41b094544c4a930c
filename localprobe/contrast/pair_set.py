"""A named set of contrast pairs, from a set that ships, a file, tuples or a DataFrame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from localprobe.contrast.pairs import PAIR_SETS, Pair, read_pairs
from localprobe.errors import DataError


@dataclass(frozen=True, slots=True, repr=False)
class PairSet(Sequence[Pair]):
    """Pairs of texts that differ in one concept."""

    concept: str
    """What the positive pole is."""
    pairs: tuple[Pair, ...]
    source: str = ""
    """Name or path that the pairs come from; empty for pairs made in Python."""

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...

    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        return self.pairs[index]

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The scenarios that pairs name, in order of appearance."""
        return tuple(dict.fromkeys(pair.scenario for pair in self.pairs if pair.scenario))

    @property
    def hash(self) -> str:
        """SHA-256 of all texts, independent of their file."""
        return hashlib.sha256("".join(pair.hash for pair in self.pairs).encode()).hexdigest()

    def __repr__(self) -> str:
        scenarios = f", {len(self.scenarios)} scenarios" if self.scenarios else ""
        return f"<PairSet {self.concept!r}: {len(self)} pairs{scenarios}>"

    def to_frame(self) -> Any:
        """The pairs as a pandas DataFrame: one row per pair."""
        import pandas as pd

        names = ("id", "scenario", "positive", "negative")
        return pd.DataFrame([{**{name: getattr(pair, name) for name in names}, **pair.metadata} for pair in self.pairs])


def pairs(source: Any, *, concept: str = "", **fields: str) -> PairSet:
    """Contrast pairs from the name of a set that ships (`empathy`), the path of a JSONL file, a pandas DataFrame, or an
    iterable of (positive, negative) tuples, mappings or `Pair` objects.

    `fields` name the columns of files, frames and mappings if they differ from the default: `positive_field`,
    `negative_field`, `scenario_field`. `concept` says what the positive pole is; the name or the file's stem if it is
    not given. DataError names what cannot be read.
    """
    if isinstance(source, PairSet):
        return source
    if isinstance(source, str | Path):
        path = PAIR_SETS.resolve(source)
        read = read_pairs(path) if PAIR_SETS.holds(path) else read_pairs(path, **fields)
        return PairSet(concept or path.stem, tuple(read), str(source))
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        source = source.to_dict("records")
    items = tuple(_pair(number, item, fields) for number, item in enumerate(source, 1))
    if not items:
        raise DataError("there are no pairs: give (positive, negative) tuples, or rows with positive and negative")
    return PairSet(concept or "concept", items)


def _pair(number: int, item: Any, fields: Mapping[str, str]) -> Pair:
    if isinstance(item, Pair):
        return item
    if isinstance(item, Mapping):
        names = {name: fields.get(f"{name}_field", name) for name in ("positive", "negative", "scenario")}
        rest = {key: value for key, value in item.items() if key not in (*names.values(), "id")}
        positive, negative = (_text(number, item.get(names[pole]), pole) for pole in ("positive", "negative"))
        return Pair(
            positive, negative, str(item.get(names["scenario"]) or ""), str(item.get("id", number)), rest, number
        )
    if isinstance(item, Iterable) and not isinstance(item, str) and len(values := list(item)) == 2:
        positive, negative = (_text(number, *text) for text in zip(values, ("positive", "negative"), strict=True))
        return Pair(positive, negative, id=str(number), line=number)
    raise DataError(f"pair {number} is {item!r}: give (positive, negative), or a mapping with positive and negative")


def _text(number: int, value: Any, pole: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"pair {number}: its {pole} text is {value!r}: give a text")
    return value
