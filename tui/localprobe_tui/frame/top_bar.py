"""The top line: the screens to click on, and the loaded model or the progress of its load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Button, ProgressBar

from localprobe_tui.shell import shell
from localprobe_tui.widgets.plain import Label, Static

if TYPE_CHECKING:
    from localprobe_tui.engine.session import EngineSession

_SCREENS = (("chat", "F1 Chat"), ("probing", "F2 Probing"), ("runs", "F3 Runs"), ("models", "F4 Models"))
_STILL = 1  # a bar without a total is redrawn 15 times per second, hidden or not


class LongestText(Static):
    """Shows the first of several texts that fits, and chooses again when its width changes or it comes into sight."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 (Textual's name for it)
        super().__init__(id=id)
        self._texts: Sequence[str] = ("",)

    def show(self, texts: Sequence[str]) -> None:
        """Take these texts, the longest first."""
        self._texts = texts
        self.on_resize()

    def on_resize(self) -> None:
        text = next((text for text in self._texts if len(text) <= self.size.width), self._texts[-1])
        self.update(Content(text), layout=False)


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


class TopBar(Horizontal):
    """The screens on the left, the engine on the right, and the screen's own details between them."""

    DEFAULT_CSS = """
    TopBar {
        height: 1; background: $panel; color: $foreground;
        & > #screens { width: auto; }
        & > #engine { width: 1fr; text-align: right; padding: 0 1; text-overflow: ellipsis; text-wrap: nowrap; }
    }
    """

    details: reactive[str] = reactive("")
    """What the screen shows here, such as its rate and the context used."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def compose(self) -> ComposeResult:
        yield Static(self._screens(), id="screens")
        yield LongestText(id="engine")
        yield LoadLine()

    def on_mount(self) -> None:
        shell(self).session_changed.subscribe(self, lambda _: self._show_engine())
        self._show_engine()

    def on_resize(self) -> None:
        self.query_one("#screens", Static).update(self._screens())

    def watch_details(self) -> None:
        if self.is_mounted:
            self._show_engine()

    def _screens(self) -> Content:
        parts: list[Content] = []
        for mode, label in _SCREENS:
            key, _, name = label.partition(" ")
            style = "reverse bold" if mode == self._mode else f"@click=app.show('{mode}')"
            parts.append(Content.assemble((f" {key} {name} ", style)))
        name = " ^p " if self.screen.has_class("-narrow") else " ^p All "
        parts.append(Content.assemble((name, "@click=app.command_palette")))
        return Content("").join(parts)

    def _show_engine(self) -> None:
        session = shell(self).session
        self.query_one(LoadLine).show(session)
        engine = self.query_one("#engine", LongestText)
        engine.display = session.state != "loading"
        full, short, last = session_text(session), session_text(session, short=True), self.details.rpartition(" · ")[2]
        # The end, which shows how full the context is, must not be cut off.
        pairs = ((full, self.details), (short, self.details), (short, last), (last or short, ""))
        engine.show([" · ".join(filter(None, pair)) for pair in pairs])


def session_text(session: EngineSession, *, short: bool = False) -> str:
    """A session as text: the model, the server that it is on, its engine and device; or why there is none."""
    if session.state == "dead":
        return "the engine died"
    if session.model is None:
        return "no model"
    info = session.model.info
    name = f"{info.model} @ {session.at}" if session.at else info.model
    if short:
        return name
    return " · ".join(filter(None, (name, info.quantisation, info.engine, info.device)))
