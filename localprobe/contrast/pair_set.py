"""A named set of contrast pairs, from a set that ships, a file, tuples or a DataFrame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from localprobe.contrast.pairs import PAIR_SETS, Pair, pairs_of, read_pairs
from localprobe.contrast.shapes import SHAPES, Fields
from localprobe.contrast.tables import Row, Table, plain, table_of
from localprobe.errors import DataError
from localprobe.suggest import shown


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
    """Contrast pairs from the name of a set that ships (`empathy`), the path of a file, a pandas DataFrame, a mapping
    of two lists, or an iterable of (positive, negative) tuples, mappings or `Pair` objects.

    Files, frames and mappings may have any shape of `localprobe.contrast.shapes`: ours, CAA's, preferences, chat
    messages. `fields` name the fields of another one: `positive_field`, `negative_field`, `scenario_field`,
    `prompt_field`. `concept` says what the positive pole is; the name or the file's stem if it is not given. DataError
    names what cannot be read.
    """
    if isinstance(source, PairSet):
        return source
    if isinstance(source, str | Path):
        path = PAIR_SETS.resolve(source)
        read = read_pairs(path) if PAIR_SETS.holds(path) else read_pairs(path, **fields)
        return PairSet(concept or path.stem, tuple(read), str(source))
    if not isinstance(source, Iterable):
        raise DataError(
            f"the pairs are {shown(source)}: give a name, a path, a DataFrame or (positive, negative) tuples"
        )
    table = table_of(source, "the pairs")
    if not table.rows:
        raise DataError("there are no pairs: give (positive, negative) tuples, or rows with positive and negative")
    return PairSet(concept or "concept", _mixed(table, Fields.of(**fields)))


def _mixed(table: Table, fields: Fields) -> tuple[Pair, ...]:
    """The pairs of rows, some of which may be pairs or tuples."""
    names = fields.positive or SHAPES[0].positive, fields.negative or SHAPES[0].negative
    rows = [Row(row.number, _values(row, names)) for row in table.rows]
    others = [row for row in rows if not isinstance(row.value, Pair)]
    read = pairs_of(replace(table, rows=others), fields).pairs if others else []
    if len(others) == len(rows):  # perhaps one object of lists, which is one row of many pairs
        return tuple(read)
    made = iter(read)
    return tuple(row.value if isinstance(row.value, Pair) else next(made) for row in rows)


def _values(row: Row, names: tuple[str, str]) -> Any:
    """A row as a mapping, or the pair that it is. DataError for anything else."""
    if isinstance(row.value, Pair):
        return row.value
    if isinstance(row.value, Mapping):
        return plain(row.value)
    if isinstance(row.value, Iterable) and not isinstance(row.value, str) and len(values := list(row.value)) == 2:
        return dict(zip(names, values, strict=True))
    raise DataError(
        f"pair {row.number} is {shown(row.value)}: give (positive, negative), or a mapping with positive and negative"
    )
