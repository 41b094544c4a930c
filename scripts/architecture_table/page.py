"""docs/architectures.md: a row for each architecture, a column for each engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from architecture_table.rows import FOLDER, Rows

PATH = FOLDER.with_suffix(".md")
_INTRODUCTION = """\
# Architectures

`scripts/architectures` draws this page. It builds a tiny random model of every decoder that transformers and mlx-lm
know, loads it through localprobe, and compares: the residual of every layer with the library's own hidden states, for a
text alone and in a batch of texts of unequal length; and steered decoding, row by row, with one steered pass over the
prompt and its answer. A folder of transformers that mlx-lm knows too must give on MLX the residuals that transformers
computes. So the table is about the code of an architecture; the size and the values of real weights are not in it.

- **works**: all of this holds.
- **captures**: residuals hold, alone and in a batch, so probes can be fitted. Decoding is refused for the reason given.
- **refused**: loading it gives one line, the reason given.
- **FAILED**: a fault of localprobe.
- **not checked**: no tiny model of it was made, for the reason given.
- empty: the library does not know the architecture.
"""


def write(torch: Rows, mlx: Rows, path: Path = PATH) -> Path:
    """Write the page, and return its path."""
    path.write_text("\n".join(_lines(torch, mlx)) + "\n", encoding="utf-8")
    return path


def _lines(torch: Rows, mlx: Rows) -> Iterator[str]:
    yield _INTRODUCTION
    for title, rows in (("torch", torch), ("MLX", mlx)):
        if rows.rows:
            counts = Counter(row["result"] for row in rows.rows.values())
            summary = ", ".join(f"{count} {result}" for result, count in sorted(counts.items(), key=_order))
            yield f"{title} ({rows.versions}): {summary}."
            yield ""
    yield "| architecture | torch | MLX | note |"
    yield "| --- | --- | --- | --- |"
    for name in sorted({*torch.rows, *mlx.rows}, key=str.lower):
        cells = [rows.rows.get(name, {}) for rows in (torch, mlx)]
        yield f"| {name} | {' | '.join(cell.get('result', '') for cell in cells)} | {_note(*cells)} |"


def _order(item: tuple[str, int]) -> int:
    results = ("works", "captures", "refused", "not checked", "FAILED")
    return results.index(item[0]) if item[0] in results else len(results)


def _note(torch: dict[str, Any], mlx: dict[str, Any]) -> str:
    """The reasons; named by engine where they are not the same."""
    notes = {title: cell["note"] for title, cell in (("torch", torch), ("MLX", mlx)) if cell.get("note")}
    if len(set(notes.values())) == 1 and len(notes) == len([cell for cell in (torch, mlx) if cell]):
        return _plain(next(iter(notes.values())))
    return "; ".join(f"{title}: {_plain(note)}" for title, note in notes.items())


def _plain(note: str) -> str:
    return note.replace("|", r"\|").replace("<", "&lt;")
