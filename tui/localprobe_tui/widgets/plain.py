"""Textual's widgets of text, for text that anybody may have written: a model, a file, the name of a run.

`[/x]` in a string is no markup here, and control characters are made visible. Style comes from `Content`, which these
widgets take too. Screens use these instead of Textual's own (a test holds that); what Textual itself shows, such as a
text that is being typed, is made safe by the filter `VISIBLE` at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual import widgets
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.visual import VisualType
from textual.widgets.data_table import ColumnKey, RowKey
from textual.widgets.option_list import Option

from localprobe.terminal_text import visible

Key = TypeVar("Key", bound=str)


def plain(text: str) -> Content:
    """A text without markup, its control characters visible."""
    return Content(visible(text))


def cell(value: Any) -> Text:
    """`plain` for the widgets that want Rich's text; a Text keeps its style."""
    if isinstance(value, Text):
        value.plain = visible(value.plain)
        return value
    return Text(visible(str(value)))


def _safe(content: VisualType) -> VisualType:
    if isinstance(content, str):
        return plain(content)
    if isinstance(content, Content) and (text := visible(content.plain)) != content.plain:
        return Content(text, list(content.spans))  # one character stays one
    return content


class Static(widgets.Static):
    """A text."""

    def __init__(self, content: VisualType = "", **about: Any) -> None:
        super().__init__(_safe(content), **about)

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        super().update(_safe(content), layout=layout)


class Label(Static, widgets.Label):
    """A short text."""


class DataTable(widgets.DataTable[Any]):
    """A table of texts."""

    def add_column(self, label: str | Text, **about: Any) -> ColumnKey:
        return super().add_column(cell(label), **about)

    def add_row(self, *cells: Any, **about: Any) -> RowKey:
        return super().add_row(*map(cell, cells), **about)

    def update_cell(self, row_key: RowKey | str, column_key: ColumnKey | str, value: Any, **about: Any) -> None:
        super().update_cell(row_key, column_key, cell(value), **about)


class OptionList(widgets.OptionList):
    """A list to choose from."""

    def add_options(self, new_options: Iterable[Any]) -> Self:
        options = [Option(_safe(each.prompt), each.id, each.disabled) for each in new_options]
        return super().add_options(options)


def choices(labelled: Sequence[tuple[str, Key]]) -> list[tuple[Text, Key]]:
    """The options of a Select: (label, value)."""
    return [(cell(label), value) for label, value in labelled]


class _Visible(LineFilter):
    """Makes the control characters visible that are left in a line of the screen. They have no width and their pictures
    have, so the line is cut to the width that was planned."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(segment.text.isprintable() or segment.control for segment in segments):
            return segments
        width = sum(cell_len(segment.text) for segment in segments if not segment.control)
        shown = [segment if segment.control else segment._replace(text=visible(segment.text)) for segment in segments]
        return Segment.adjust_line_length(shown, width)


VISIBLE = _Visible()
