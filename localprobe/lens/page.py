"""A table of tokens (down) by layers (across) as HTML: for a notebook, or as a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from localprobe.steering.tint import HIGH, LOW, OPACITY

_LIKELY = "#0072b2"  # the blue of the figures
_CELL = "padding: 1px 6px; text-align: left; white-space: pre; font: 12px/1.5 ui-monospace, monospace"
_STYLE = """:root { color-scheme: light dark; }
body { margin: 0; padding: 1rem 1.25rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0; }
p { margin: .25rem 0 1rem; font-size: .875rem; opacity: .75; max-width: 60rem; }"""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is said after one layer."""

    text: str
    probability: float
    """The shade: 0 has none."""
    title: str
    """Shown when pointed at."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token of the text, and what is said after it."""

    token: str
    tint: float
    """-1 to 1, as of `localprobe.steering.tint.strengths`."""
    score: float | None
    cells: tuple[Cell, ...]


def page(title: str, legend: str, columns: Sequence[str], rows: Sequence[TokenRow]) -> str:
    """The table as a page that needs no network."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n<p>{escape(legend)}</p>\n"
        f"{table(columns, rows)}\n</body>\n</html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[TokenRow]) -> str:
    """The table, the more likely a cell the darker. Its style is its own, so that it can stand in any page."""
    head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in columns)
    return (
        f'<div style="overflow-x: auto"><table style="border-collapse: collapse"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_row, rows))}</tbody></table></div>"
    )


def _row(row: TokenRow) -> str:
    alpha = round(255 * OPACITY * abs(row.tint))
    colour = f"; background-color: {HIGH if row.tint > 0 else LOW}{alpha:02x}" if row.tint else ""
    cells = [f'<th style="{_CELL}{colour}">{escape(row.token)}</th>']
    if row.score is not None:
        cells.append(f'<td style="{_CELL}; text-align: right">{row.score:+.2f}</td>')
    return f"<tr>{''.join([*cells, *map(_cell, row.cells)])}</tr>"


def _cell(cell: Cell) -> str:
    shade = f"{_LIKELY}{round(160 * min(1.0, cell.probability)):02x}"
    style = f"{_CELL}; background-color: {shade}"
    return f'<td style="{style}" title="{escape(cell.title)}">{escape(cell.text)}</td>'
