"""How far a load is, on every screen: nothing else has to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Label, ProgressBar

from localprobe_tui.shell import shell

if TYPE_CHECKING:
    from localprobe_tui.engine.session import Session


_STILL = 1  # a bar without a total is drawn anew 15 times a second, hidden or not


class LoadLine(Horizontal):
    """The stage of the load, a bar, and a button that cancels it. There only while something is loaded."""

    DEFAULT_CSS = """
    LoadLine {
        height: 1; background: $primary-muted; display: none;
        &.-on { display: block; }
        & > Label { width: 1fr; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > ProgressBar { width: 30%; }
        & Bar { width: 1fr; }
        & > Button { min-width: 14; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Label(markup=False)
        yield ProgressBar(_STILL, show_eta=False)
        yield Button("Cancel ^x", compact=True, id="cancel-load")

    def show(self, session: Session) -> None:
        """Draw the load as it is now."""
        stage = session.stage
        self.set_class(stage is not None, "-on")
        if stage is None:
            self.query_one(ProgressBar).update(total=_STILL)
            return
        amount = f"  {stage.done / 1e6:,.0f} of {stage.total / 1e6:,.0f} MB" if stage.total else ""
        self.query_one(Label).update(stage.name + amount)
        self.query_one(ProgressBar).update(total=stage.total or None, progress=stage.done)

    @on(Button.Pressed, "#cancel-load")
    def _cancel(self) -> None:
        shell(self).session.cancel_load()
