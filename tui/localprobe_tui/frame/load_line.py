"""The progress of a load, in the top line of every screen, where it neither blocks nor moves anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, ProgressBar

from localprobe_tui.shell import shell
from localprobe_tui.widgets.plain import Label

if TYPE_CHECKING:
    from localprobe_tui.engine.session import EngineSession


_STILL = 1  # a bar without a total is redrawn 15 times per second, hidden or not


class LoadLine(Horizontal):
    """The stage of the load, a bar, and a button that cancels it. Hidden while nothing is loaded."""

    DEFAULT_CSS = """
    LoadLine {
        width: 1fr; height: 1; background: $primary-muted; display: none;
        & > Label { width: 1fr; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > ProgressBar { width: auto; & Bar { width: 12; } }
        & > Button { min-width: 11; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Label(markup=False)
        yield ProgressBar(_STILL, show_percentage=False, show_eta=False)
        yield Button("Cancel ^x", compact=True, id="cancel-load")

    def show(self, session: EngineSession) -> None:
        """Draw the load as it is now."""
        stage = session.stage
        self.display = stage is not None
        bar = self.query_one(ProgressBar)
        if stage is None:
            bar.update(total=_STILL)
            return
        bar.display = not self.screen.has_class("-narrow")
        amount = f"{stage.done / 1e6:,.0f} of {stage.total / 1e6:,.0f} MB  " if stage.total else ""
        self.query_one(Label).update(amount + stage.name)  # if it is too long, its end is cut off
        bar.update(total=stage.total or None, progress=stage.done)

    @on(Button.Pressed, "#cancel-load")
    def _cancel(self) -> None:
        shell(self).session.cancel_load()
