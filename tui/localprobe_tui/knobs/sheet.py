"""The knobs as a sheet, for a terminal too small for the panel."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from localprobe_tui.knobs.actions import KnobActions
from localprobe_tui.knobs.panel import KnobsPanel
from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.sheets import SHEET


class KnobsSheet(KnobActions, ModalScreen[None]):
    """The panel of knobs as a sheet."""

    DEFAULT_CSS = "KnobsSheet {" + SHEET + "& KnobsPanel { width: 1fr; height: auto; max-height: 20; border: none; } }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+k", "dismiss(None)", "Close", id="sheet.close")]

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Knobs"
            box.border_subtitle = closes()
            yield KnobsPanel(self.talk)

    def on_mount(self) -> None:
        self.talk.listen(self._changed)

    def on_unmount(self) -> None:
        self.talk.unlisten(self._changed)

    def _changed(self) -> None:
        if self.is_mounted:
            self.call_next(self.query_one(KnobsPanel).show)
