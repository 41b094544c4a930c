"""The list of the Runs screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from localprobe_tui.widgets.plain import DataTable

if TYPE_CHECKING:
    from localprobe.store.runs import RunSummary

_SHOWN = 80
"""Cells of a run's name in the list."""


class RunList(DataTable):
    """The list. Left and right arrow keys are left to the screen, for the figure of the open run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open", id="runs.open")]

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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action not in ("cursor_left", "cursor_right") and super().check_action(action, parameters)


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
