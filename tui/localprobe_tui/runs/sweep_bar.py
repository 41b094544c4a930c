"""A running sweep on the loaded model: its progress, and a button that stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, ProgressBar

from localprobe.errors import LocalprobeError, UsageError
from localprobe.progress import clock
from localprobe_tui.engine.work import on_the_loop
from localprobe_tui.runs.sweep_form import SweepForm
from localprobe_tui.shell import shell
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.scores import readable

if TYPE_CHECKING:
    from localprobe.experiments.experiment import Experiment
    from localprobe.experiments.sweep import SweepProgress
    from localprobe.model import Model
    from localprobe.store.runs import Run, Runs
    from localprobe_tui.engine.session import EngineSession


class SweepBar(Widget):
    """One running sweep: its progress, and a button that stops it. Hidden while there is none."""

    DEFAULT_CSS = """
    SweepBar {
        height: 2; display: none; background: $boost;
        & > Horizontal { height: 1; }
        & ProgressBar { width: auto; padding: 0 1; }
        & Bar { width: 20; }
        & #sweeping { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & #last { height: 1; padding: 0 1; color: $foreground 70%; text-wrap: nowrap; text-overflow: ellipsis; }
        & Button { min-width: 10; }
    }
    """

    class Changed(Message):
        """A sweep began or ended: the store has changed."""

    def __init__(self, runs: Callable[[], Runs]) -> None:
        """`runs` opens the store that sweeps are kept in."""
        super().__init__()
        self._runs = runs
        self._stop = threading.Event()
        self._stage: tuple[str, int, float] = ("", 0, 0.0)  # its name, what was done when it began, and when
        self._stage_text = ""  # of the stage, at the last news
        self._needs = 0.0  # seconds that the whole stage takes, as far as is known
        self._filled: dict[str, Any] = {}  # the form as it was when it was last started

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield ProgressBar(show_eta=False, show_percentage=False)
            yield Static(id="sweeping", markup=False)
            yield Button("Stop ^x", id="stop", compact=True)
        yield Static(id="last", markup=False)

    def ask(self) -> None:
        """Open the form of a sweep, and run it; one sweep at a time."""
        if self.display:
            self.notify("A sweep is running: stop it first (ctrl+x).", severity="warning")
        else:
            self._ask()

    @work(group="sweep")
    async def _ask(self) -> None:
        app = shell(self)
        try:
            model = app.session.free()
        except UsageError as error:
            app.show_error(error)
            return
        form = SweepForm(model, app.vectors, self._filled)
        experiment = await self.app.push_screen_wait(form)
        if experiment is None:
            return
        self._filled = form.filled
        self._stop.clear()
        self._stage, self._stage_text = ("", 0, 0.0), ""
        self.display = True
        self.query_one("#sweeping", Static).update("starting …")
        try:
            await self._sweep(app.session, model, experiment)
        except LocalprobeError as error:
            app.show_error(error)
        finally:
            if self.has_focus_within:  # else the next field would take the keys
                self.screen.set_focus(None)
            self.display = False
            self.post_message(self.Changed())

    async def _sweep(self, session: EngineSession, model: Model, experiment: Experiment) -> None:
        from localprobe.experiments import sweep
        from localprobe.experiments.result import SweepResult
        from localprobe.store.json_values import from_json

        runs, tell = self._runs(), on_the_loop(self._tell)

        def do() -> Run:
            return sweep.run(
                experiment, runs, progress=tell, stop=self._stop.is_set, load=lambda choice: nullcontext(model)
            )

        with session.reserved(f"sweeping {experiment.name} (F3 shows it)"):
            self.post_message(self.Changed())
            run = await session.call(do)
        cells = from_json(SweepResult, run.result).cells
        if cells.missing:
            self.notify(f"Stopped: {cells.done} of {cells.expected} answers are kept in run {run.id}.")
        else:
            self.notify(f"The sweep is done: run {run.id}.")

    def on_mount(self) -> None:
        self.set_interval(1, self._show)

    def on_unmount(self) -> None:
        self._stop.set()

    @on(Button.Pressed, "#stop")
    def stop(self) -> None:
        """End the sweep after this step; finished answers stay."""
        self._stop.set()
        self.query_one("#sweeping", Static).update("stopping after this step …")

    def _tell(self, progress: SweepProgress) -> None:
        if not self.is_mounted or self._stop.is_set():
            return
        if self._stage[0] != progress.stage:
            self._stage = (progress.stage, progress.done, time.monotonic())
        _, before, start = self._stage
        seconds = time.monotonic() - start
        rate = f" · {progress.tokens / seconds:,.0f} tok/s" if progress.tokens and seconds > 1 else ""
        unit = "texts" if progress.stage == "fitting" else "answers"
        self._stage_text = f"{progress.stage} {progress.done} of {progress.total} {unit}{rate}"
        self._needs = seconds * (progress.total - before) / (progress.done - before) if progress.done > before else 0.0
        self.query_one(ProgressBar).update(total=progress.total or None, progress=progress.done)
        self._show()
        if progress.last:
            under = readable(progress.last.cell.treatment)
            self.query_one("#last", Static).update(f"{under}: {readable(' '.join(progress.last.text.split()))}")

    def _show(self) -> None:
        """Show the progress and the time, which goes on during the many seconds of a batch."""
        if self._stage_text and not self._stop.is_set():
            seconds = time.monotonic() - self._stage[2]
            about = f" of about {clock(max(self._needs, seconds))}" if self._needs else ""
            self.query_one("#sweeping", Static).update(f"{self._stage_text} · {clock(seconds)}{about}")
