"""A table of results: text with intervals for people, plain columns for machines."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from localprobe.probing.comparison import Likeness
from localprobe.stats.estimates import Estimate, Mean
from localprobe.stats.rates import Rate


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, with its 95 % interval if there is one."""

    value: float | None
    interval: Sequence[float] | None = None
    digits: int = 2
    percent: bool = False

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        text = self._number(self.value)
        if self.interval is None:
            return text
        low, high = (self._number(bound) for bound in self.interval)
        return f"{text} [{low}, {high}]"

    @classmethod
    def of(cls, figure: Rate | Estimate | Mean | Likeness | None) -> Measured:
        """A figure with its own interval; a rate in percent."""
        if figure is None:
            return cls(None)
        if isinstance(figure, Rate):
            return cls(figure.share, figure.interval, percent=True)
        return cls(figure.value, figure.interval)

    def _number(self, value: float) -> str:
        return f"{value:.0%}" if self.percent else f"{value:.{self.digits}f}"


TableCell: TypeAlias = str | int | Measured


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns. `name` is for files, `title` for people."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    note: str = ""

    def csv(self) -> str:
        """As CSV: a figure at full precision, its interval in two columns beside it."""
        measured = [any(_interval(row[i]) for row in self.rows) for i in self.wide]
        header = [
            name
            for column, extra in zip(self.columns, measured, strict=True)
            for name in ([column, f"{column} low", f"{column} high"] if extra else [column])
        ]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        for row in self.rows:
            writer.writerow([v for cell, extra in zip(row, measured, strict=True) for v in _values(cell, extra)])
        return out.getvalue()

    @property
    def wide(self) -> range:
        """Indices of the columns."""
        return range(len(self.columns))

    def numeric(self, column: int) -> bool:
        """Whether a column holds figures, which are right-aligned."""
        return all(not isinstance(row[column], str) for row in self.rows)


def _interval(cell: TableCell) -> Sequence[float] | None:
    return cell.interval if isinstance(cell, Measured) else None


def _values(cell: TableCell, extra: bool) -> list[object]:
    if not isinstance(cell, Measured):
        return [cell, "", ""] if extra else [cell]
    value = "" if cell.value is None else cell.value
    if not extra:
        return [value]
    return [value, *(cell.interval or ("", ""))]
