"""The Probing screen: fit a probe on contrast pairs, validate it, and use it in the chat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, ProgressBar, Select, TextArea
from textual.worker import Worker

from localprobe.contrast.pairs import PAIR_SETS
from localprobe.errors import LocalprobeError
from localprobe.probing.config import MethodName, PoolingName, ProbeConfig
from localprobe.progress import clock
from localprobe_tui.engine.work import in_thread
from localprobe_tui.frame.page import Page
from localprobe_tui.probing.results import Results, VerdictDialog, verdict
from localprobe_tui.probing.text import TryText
from localprobe_tui.probing.work import ProbingWork, keep, outline, path_of, read
from localprobe_tui.shell import errors_shown
from localprobe_tui.widgets.dialogs import TextDialog
from localprobe_tui.widgets.plain import Static, choices

if TYPE_CHECKING:
    from localprobe.capture.job import Amount
    from localprobe.probing.report import ProbeReport
    from localprobe.vectors.vector import Vector

_FILE = "a file"


class ProbingScreen(Page):
    """Contrast set, method and pooling at the top; then progress; then the verdict, the figures, and a box to try a
    text."""

    MODE = "probing"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "fit", "Fit", id="probing.fit"),
        Binding("left", "layer(-1)", "Layer", id="probing.layer_down", key_display="←→"),
        Binding("right", "layer(1)", "Layer up", show=False, id="probing.layer_up"),
        Binding("home", "layer(0)", "Chosen layer", show=False, id="probing.layer_chosen"),
        Binding("v", "verdict", "Verdict", id="probing.verdict"),
        Binding("t", "text", "Try a text", id="probing.text"),
        Binding("c", "chat", "Chat with it", id="probing.chat"),
        Binding("s", "save", "Save", id="probing.save"),
        Binding("d", "choose('pairs')", "Data", id="probing.data"),
        Binding("m", "choose('method')", "Method", show=False, id="probing.method"),
        Binding("p", "choose('pooling')", "Pooling", show=False, id="probing.pooling"),
        Binding("escape", "leave", "Cancel", show=False, id="probing.cancel"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.report: ProbeReport | None = None
        self._work: ProbingWork | None = None
        self._worker: Worker[None] | None = None

    def body(self) -> ComposeResult:
        with Horizontal(id="form"):
            sets = [(name, name) for name in (*PAIR_SETS.names(), _FILE)]
            yield Select(choices(sets), id="pairs", allow_blank=False, compact=True)
            yield Select(
                choices([(name, name) for name in get_args(MethodName)]), id="method", allow_blank=False, compact=True
            )
            yield Select(
                choices([(name, name) for name in get_args(PoolingName)]), id="pooling", allow_blank=False, compact=True
            )
            yield Button("Fit", id="fit", variant="primary", compact=True)
        yield Input(placeholder="path of a JSONL, JSON or CSV file of pairs", id="path", compact=True)
        with Horizontal(id="progress"):
            yield ProgressBar(show_eta=False, show_percentage=False)
            yield Static(id="stage", markup=False)
            yield Button("Cancel", id="cancel", compact=True)
        yield Static(id="headline", markup=False)
        yield Static(id="about")
        with Horizontal(id="found"):
            yield Results()
            with Vertical(id="beside"):
                with VerticalScroll(id="whole", can_focus=False) as box:
                    box.border_title = "Verdict"
                    yield Static(id="verdict")
                yield TryText()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#pairs", Select).value = "empathy"
        self._show_study()

    def session_changed(self) -> None:
        if self.report is None:
            self._say_what_next()

    # What to fit on

    @property
    def pairs(self) -> str:
        """The selected set or path."""
        selected = self.query_one("#pairs", Select).value
        return self.query_one("#path", Input).value if selected == _FILE else str(selected)

    def action_choose(self, option: str) -> None:
        select = self.query_one(f"#{option}", Select)
        select.focus()
        select.expanded = True

    @on(Select.Changed)
    def _chosen(self) -> None:
        file = self.query_one("#pairs", Select).value == _FILE
        path = self.query_one("#path", Input)
        path.display = file
        if file:
            path.focus()
        self.session_changed()

    @on(Input.Changed, "#path")
    def _typed(self) -> None:
        self.session_changed()

    @on(Input.Submitted, "#path")
    @on(Button.Pressed, "#fit")
    def action_fit(self) -> None:
        if self._work is not None:
            self.notify("A study is running: Escape cancels it.")
            return
        with errors_shown(self):
            self._work = ProbingWork(self.session, read(self.pairs), path_of(self.pairs).stem, self._config())
            self._worker = self._study(self._work)

    def _config(self) -> ProbeConfig:
        method, pooling = (str(self.query_one(f"#{name}", Select).value) for name in ("method", "pooling"))
        return ProbeConfig(method, pooling)

    # Running a study

    @work(exclusive=True, group="study")
    async def _study(self, task: ProbingWork) -> None:
        pairs = self.pairs
        self.query_one("#progress").display = True
        self._step("waiting for the model")
        self.set_focus(self.query_one("#cancel"))
        try:
            report = self.report = await task.run(self._capturing, self._step)
            for line in task.notices:
                self.notify(line.replace("`", ""), severity="warning")
            self._show_study()
            recorded = await in_thread(lambda: keep(report, pairs))
            self.notify(f"Kept as run {recorded.run}: F3 shows it.")
        except LocalprobeError as error:
            self.localprobe.show_error(error)
        finally:
            self._work = None
            for progress in self.query("#progress"):  # none if the app is closing
                progress.display = False
                self.set_focus(None)

    def _capturing(self, amount: Amount) -> None:
        left = "" if amount.left is None else f" · {clock(amount.left)} left"
        rate = f" · {amount.rate:,.0f} tok/s" if amount.tokens else ""
        self.query_one(ProgressBar).update(total=amount.total, progress=amount.texts)
        self.query_one("#stage", Static).update(f"capturing {amount.texts} of {amount.total} texts{rate}{left}")

    def _step(self, name: str) -> None:
        self.query_one(ProgressBar).update(total=None)
        self.query_one("#stage", Static).update(f"{name} …")

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        if self._work is not None and self._worker is not None:
            self._work.stop()
            self._worker.cancel()
            self.query_one("#stage", Static).update("cancelling …")
            self.notify("Cancelled. The captured residuals are kept: the next fit resumes.")
        else:
            self.set_focus(None)

    # The results

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("layer", "verdict", "text", "chat", "save"):
            return self.report is not None
        return True

    def _show_study(self) -> None:
        self.set_class(self.report is not None, "-fitted")
        self.refresh_bindings()
        if self.report is None:
            self._say_what_next()
            return
        result = self.report.result
        self.query_one("#headline", Static).update(str(result.verdict))
        self.query_one("#verdict", Static).update(verdict(result, headline=False))
        self.query_one(Results).show(result)
        self.query_one(TryText).use(self.session, self.report.vector, self.query_one(Results).chosen)

    def _say_what_next(self) -> None:
        """Before a fit: describe it, and show the selected pairs."""
        model = self.session.model
        where = f"on {model.info.model}" if model else "once a model is loaded (F4 lists them)"
        self.query_one("#headline", Static).update(
            f"Press f to fit a probe {where}: at every layer, on 70 % of the pairs. It is measured on the rest, and "
            "compared with words, length, random directions and chance."
        )
        try:
            about = outline(read(self.pairs))
        except LocalprobeError as error:
            about = Content(str(error))
        self.query_one("#about", Static).update(about)

    @on(Results.LayerChanged)
    def _layer_changed(self, event: Results.LayerChanged) -> None:
        if self.report:
            self.query_one(TryText).show_layer(event.layer)

    def action_layer(self, places: int) -> None:
        results = self.query_one(Results)
        if places:
            results.move(places)
        elif results.result:
            results.chosen = results.result.layer

    def action_verdict(self) -> None:
        if self.report:
            self.app.push_screen(VerdictDialog(self.report.result))

    def action_text(self) -> None:
        self.query_one(TextArea).focus()

    @property
    def vector(self) -> Vector | None:
        """The probe at the layer that is shown."""
        return replace(self.report.vector, best=self.query_one(Results).chosen) if self.report else None

    def action_chat(self) -> None:
        if vector := self.vector:
            self.localprobe.use_vector(vector)

    @work
    async def action_save(self) -> None:
        if not (vector := self.vector):
            return
        from localprobe.store.names import file_name
        from localprobe.store.paths import data
        from localprobe.vectors import files as vector_files

        name = file_name(f"{vector.concept}-{Path(vector.origin.model).name}")
        usual = data() / "vectors" / f"{name}.safetensors"
        path = await self.app.push_screen_wait(TextDialog("Save the vector (.safetensors, .gguf or .npz)", str(usual)))
        if not path:
            return
        with errors_shown(self):
            vector_files.export(vector, Path(path).expanduser())
            self.notify(f"Saved {path}")

    @on(TryText.Failed)
    def _not_scored(self, event: TryText.Failed) -> None:
        self.localprobe.show_error(event.error)
