"""Rows of values out of files: JSON, JSONL, CSV, TSV and Parquet, by suffix and content.

Every row keeps the number by which messages and findings name it: its line in the file; its place in the list where
several lie on one line. Other kinds of file (`.xlsx`, `.zip`, `.pkl`) are refused by name and never opened.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localprobe.errors import DataError
from localprobe.store.names import exists, is_file
from localprobe.store.safe_json import parse
from localprobe.store.text_files import decode, place, read_bytes, split_lines
from localprobe.suggest import shown

READABLE = ".jsonl, .json, .csv, .tsv or .parquet"
_LINES = (".jsonl", ".ndjson")
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")
SUFFIXES = (".json", *_LINES, *_DELIMITERS, *_PARQUET)
"""Of files that can be read."""
_JSON = re.compile(r'\s*(\{\s*["}]|\[\s*["{\[\]])')
_HEADER = re.compile(r'"?[\w-]+"?([,;\t]"?[\w-]+"?)+')
_GAP = re.compile(r"[\s,]*")
_MOST = 20  # names in messages
_WIDEST = 40  # characters of a column's name in messages


@dataclass(frozen=True, slots=True)
class Row:
    """A value of JSON, mostly an object, and its number."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file or a data frame."""

    source: str
    """Name in messages."""
    form: str
    """What the file is, in words: `JSONL`, `a JSON array`, `CSV`."""
    unit: str
    """What rows are numbered by: `line`, `item` or `row`."""
    rows: Sequence[Row]

    def place(self, row: Row) -> str:
        """A row in messages: `mine.csv, line 3`."""
        return f"{self.source}, {self.unit} {row.number}"

    def objects(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Place, number and values of each row. DataError for a row that is not an object."""
        for row in self.rows:
            if not isinstance(row.value, dict):
                raise DataError(f"{self.place(row)}: a {type(row.value).__name__}, not a JSON object")
            yield self.place(row), row.number, row.value

    def unrolled(self, *names: str) -> Table:
        """The rows of a single object of lists, such as `{"positive": [...], "negative": [...]}`; other tables as they
        are.

        A list as long as those of `names` is a column; any other value belongs to every row. DataError if the lists of
        `names` differ in length.
        """
        whole = self.rows[0].value if len(self.rows) == 1 else None
        if not isinstance(whole, dict) or not all(_is_column(whole.get(name)) for name in names):
            return self
        lengths = {name: len(whole[name]) for name in names}
        length = lengths[names[0]]
        if set(lengths.values()) != {length}:
            told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            raise DataError(f"{self.source}: lists of one length are needed, but {told}")
        columns = {name for name, value in whole.items() if _is_column(value) and len(value) == length}
        rows = [{name: value[i] if name in columns else value for name, value in whole.items()} for i in range(length)]
        return replace(self, form="a JSON object of lists", unit="item", rows=_numbered(rows))


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with their numbers. DataError for a row that is not one, and as of `read_table`."""
    for _, number, values in read_table(path).objects():
        yield number, values


def read_table(path: Path) -> Table:
    """The rows of a file, or of standard input for `-`. DataError, in one line, for what cannot be read."""
    suffix = path.suffix.lower()
    if suffix in _PARQUET:
        return _parquet(path)
    data, where = read_bytes(path), place(path)
    known = suffix in ("", ".json", *_LINES, *_DELIMITERS) or where != str(path)
    try:
        text = decode(data, where)
    except DataError:
        if known:
            raise
        text = ""
    if not known and not is_json(text):
        raise DataError(f"{where}: files of the kind {suffix} are not read: save it as {READABLE}")
    return parse_table(text, where, suffix)


def parse_table(text: str, where: str, suffix: str = "") -> Table:
    """The rows of a text whose file has that suffix. DataError with the line of what cannot be read."""
    if suffix in _DELIMITERS or (suffix == "" and header(text)):
        return _delimited(text, where, _DELIMITERS.get(suffix, ","))
    if text.lstrip().startswith("["):
        return _array(text, where)
    if suffix in _LINES or _whole_lines(text):
        rows = [
            Row(n, parse(line, f"{where}, line {n}")) for n, line in enumerate(split_lines(text), 1) if line.strip()
        ]
        return Table(where, "JSONL", "line", rows)
    if not text.strip():
        return Table(where, "an empty file", "line", ())
    value = parse(text, where, whole=True)
    if not isinstance(value, dict):
        raise DataError(f"{where} is a JSON {type(value).__name__}: write a list of objects, or one object per line")
    return Table(where, "JSON", "item", (Row(1, value),))


def is_json(text: str) -> bool:
    """Whether a text begins as an array or an object of JSON does."""
    return _JSON.match(text) is not None


def header(text: str) -> list[str]:
    """The names in the first line of a text without a suffix, if it is that of a CSV: words between delimiters."""
    first = text.lstrip("\n").partition("\n")[0].strip()
    return re.split(r'"?[,;\t]"?', first.strip('"')) if _HEADER.fullmatch(first) else []


def table_of(rows: Iterable[Any], source: str) -> Table:
    """Rows made in Python, or of a pandas DataFrame."""
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return Table(source, "a data frame", "row", _numbered(plain(rows.to_dict("records"))))
    if isinstance(rows, Mapping):
        return Table(source, "a mapping", "row", (Row(1, plain(rows)),))
    return Table(source, "a list", "pair", _numbered(rows))


def plain(value: Any) -> Any:
    """A value of pandas or numpy as JSON has it: NaN and other marks of a missing value are None."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # arrays, columns and scalars
        return plain(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def is_message(value: Any) -> bool:
    """Whether a value is a message of a chat: an object with a role, under one of the names in use."""
    return isinstance(value, Mapping) and ("role" in value or "from" in value)


def _numbered(rows: Iterable[Any]) -> tuple[Row, ...]:
    return tuple(Row(number, value) for number, value in enumerate(rows, 1))


def _is_column(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not is_message(value[0])


def _whole_lines(text: str) -> bool:
    """Whether the first of several lines is an object by itself, as in JSONL, whatever the file's suffix."""
    lines = [line for line in split_lines(text) if line.strip()]
    try:
        return len(lines) > 1 and isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return False


def _array(text: str, where: str) -> Table:
    values = parse(text, where, whole=True)
    decoder, at, line, lines = json.JSONDecoder(), text.index("[") + 1, 1, []
    counted = 0
    for _ in values:
        start = _GAP.match(text, at).end()  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, start), start
        lines.append(line)
        at = decoder.raw_decode(text, start)[1]
    if len(set(lines)) < len(lines):
        return Table(where, "a JSON array", "item", _numbered(values))
    return Table(where, "a JSON array", "line", [Row(n, value) for n, value in zip(lines, values, strict=True)])


def _delimited(text: str, where: str, delimiter: str) -> Table:
    rows = _cells(text, where, delimiter)
    number, header = next(rows, (1, []))
    if delimiter == "," and len(header) == 1:  # spreadsheets of some countries write another delimiter
        for other in (";", "\t"):
            if other in header[0]:
                return _delimited(text, where, other)
    names = [name.strip() for name in header]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise DataError(f"{where}, line {number}: the header has {_short(twice)!r} twice: rename one")
    table = []
    for number, cells in rows:
        if len(cells) != len(names):
            raise DataError(
                f"{where}, line {number}: {len(cells)} cells, but the header has {len(names)}: put a text that holds "
                f"{delimiter!r}, quotes or line ends into quotes"
            )
        table.append(Row(number, {name: cell for name, cell in zip(names, cells, strict=True) if name}))
    return Table(where, "TSV" if delimiter == "\t" else "CSV", "line", table)


def _cells(text: str, where: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line that it begins at."""
    reader = csv.reader((f"{line}\n" for line in split_lines(text)), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = str(error)
            if "end of data" in fault or "field limit" in fault:
                fault = f"a quote is not closed, or a text has over {csv.field_size_limit()} characters"
            elif "new-line" in fault:
                fault = "a carriage return outside quotes"
            raise DataError(f"{where}, line {number}: {fault}") from error
        if any(cell.strip() for cell in cells):
            yield number, cells


def _parquet(path: Path) -> Table:
    if not is_file(path):
        raise DataError(f"cannot read {path}: {'Is a directory' if exists(path) else 'No such file'}")
    try:
        import pandas as pd

        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(f"{path}: reading Parquet needs two libraries: run pip install pandas pyarrow") from error
    except Exception as error:  # each Parquet library has errors of its own
        raise DataError(f"cannot read {path}: {str(error).partition(chr(10))[0]}") from error
    return replace(table_of(frame, str(path)), form="Parquet")


def _short(name: str) -> str:
    name = name if name.isprintable() else shown(name)[1:-1]
    return name if len(name) <= _WIDEST else f"{name[:_WIDEST]}..."


def listed(names: Iterable[str]) -> str:
    """Names of fields in messages; long ones, as in a CSV without a header, are cut, and so is a long list."""
    names = list(names)
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return (", ".join(map(_short, names[:_MOST])) or "none") + more
