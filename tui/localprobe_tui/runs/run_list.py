"""The list of the Runs screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message

from localprobe_tui.widgets.plain import DataTable

if TYPE_CHECKING:
    from localprobe.store.runs import RunSummary

_SHOWN = 80
"""Cells of a run's name in the list."""


class RunList(DataTable):
    """The list. Left and right arrow keys post `Sideways`, for the figure of the open run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open", id="runs.open")]

    @dataclass
    class Sideways(Message):
        """An arrow key was pressed: one place to the left (-1) or to the right (1)."""

        places: int

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True)

    def on_mount(self) -> None:
        for name in ("", "When", "What", "Found", "Name"):
            self.add_column(name, key=name or "mark")

    def fill(self, runs: Sequence[RunSummary], marked: Sequence[str]) -> None:
        """Show runs; the cursor stays in its row."""
        row = self.cursor_row
        self.clear()
        for run in runs:
            mark = Text("*" if run.id in marked else "", style="bold")
            self.add_row(mark, _when(run), run.kind, result_text(run), run.name[:_SHOWN], key=run.id)
        self.move_cursor(row=min(row, len(runs) - 1))

    def action_cursor_left(self) -> None:
        self.post_message(self.Sideways(-1))

    def action_cursor_right(self) -> None:
        self.post_message(self.Sideways(1))


def searched(run: RunSummary) -> str:
    """The text that a filter searches."""
    return f"{run.id} {run.kind} {run.name} {run.created}".lower()


def _when(run: RunSummary) -> str:
    from datetime import datetime

    try:
        return datetime.fromisoformat(run.created).astimezone().strftime("%d %b %H:%M")
    except ValueError:
        return run.created


def result_text(run: RunSummary) -> str:
    """The result of a run in a few characters."""
    if "auroc" in run.headline:
        return f"{run.headline['auroc']:.2f} @{run.headline['layer']}"
    if "done" in run.headline:
        return f"{run.headline['done']}/{run.headline['expected']}"
    return ""
