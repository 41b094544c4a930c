"""Plain texts out of files, and which field of a table holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localprobe.contrast.shapes import text
from localprobe.contrast.tables import Table, header, is_json, listed, parse_table, read_table
from localprobe.errors import DataError
from localprobe.store.text_files import STDIN, place, read_text, split_lines

NAMES = ("statement", "sentence", "content", "texts", "sentences", "statements", "passage", "document")
"""What a field of texts is called, after `text`, which comes before all."""
_LINES = (".txt", ".text", ".md")


def texts_of(path: Path, field: str | None) -> list[str]:
    """The texts of a file, or of standard input for `-`; see `localprobe.contrast.pairs.read_texts`."""
    suffix, where = path.suffix.lower(), place(path)
    if suffix in _LINES or suffix == "" or str(path) == STDIN:
        whole = read_text(path)
        if suffix in _LINES or not (is_json(whole) or header(whole)):
            if field:
                raise DataError(f"{where}: lines of text have no field {field!r}: leave out `text_field`")
            return [line for line in split_lines(whole) if line.strip()]
        table = parse_table(whole, where)
    else:
        table = read_table(path)
    return _texts(table, field)


def _texts(table: Table, field: str | None) -> list[str]:
    if not table.rows:
        return []
    if all(isinstance(row.value, str) for row in table.rows):
        return [text(row.value, table.place(row), "the text") for row in table.rows]
    if not any(isinstance(row.value, dict) for row in table.rows):
        wrong = next(row for row in table.rows if not isinstance(row.value, str))
        return [text(wrong.value, table.place(wrong), "the text")]
    first = next(table.objects())[2]
    table = table.unrolled(field or next((name for name in ("text", *NAMES) if name in first), "text"))
    rows = list(table.objects())
    name = field or _field([values for _, _, values in rows], rows[0][0])
    for where, _, values in rows:
        if name not in values:
            raise DataError(f"{where}: no field {name!r}; it has {listed(values)} (`text_field` gives another name)")
    return [text(values[name], where, name) for where, _, values in rows]


def _field(rows: Sequence[dict[str, Any]], where: str) -> str:
    """The field that holds the texts. DataError if it could be none or several."""
    if "text" in rows[0]:
        return "text"
    named = [name for name in NAMES if name in rows[0]]
    if len(named) == 1:
        return named[0]
    possible = [name for name in rows[0] if all(_is_text(row.get(name)) for row in rows)]
    if len(possible) == 1 and not named:
        return possible[0]
    which = f"of {listed(named or possible)}" if named or possible else f"holds the texts; it has {listed(rows[0])}"
    raise DataError(f"{where}: no field 'text': say by `text_field` which {which}")


def _is_text(value: Any) -> bool:
    """Whether a value can be a text: a string that is no number, as every cell of CSV is a string."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        float(value)
    except ValueError:
        return value.strip().lower() not in ("true", "false")
    return False
