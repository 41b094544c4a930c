"""The Runs screen: list, open, compare, delete and report runs; start and watch sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from localprobe.errors import LocalprobeError
from localprobe.store.stored_result import understood
from localprobe_tui.engine.work import in_thread
from localprobe_tui.frame.page import Page
from localprobe_tui.runs.compare import CompareScreen
from localprobe_tui.runs.detail import Detail, opened
from localprobe_tui.runs.run_list import RunList, searched
from localprobe_tui.runs.sweep_bar import SweepBar
from localprobe_tui.shell import errors_shown
from localprobe_tui.widgets.dialogs import Notice
from localprobe_tui.widgets.plain import DataTable, Static

if TYPE_CHECKING:
    from localprobe.store.runs import Runs, RunSummary


class RunsScreen(Page):
    """The list on the left and the open run on the right; on a small terminal one of the two."""

    MODE = "runs"
    DEFAULT_CSS = """
    RunsScreen {
        & #list { width: 5fr; }
        & Detail { width: 6fr; border-left: solid $primary 60%; }
        & #filter { background: $boost; }
        & RunList { height: 1fr; scrollbar-size: 1 1; }
        & #none { padding: 1 2; height: auto; }
        &.-narrow Detail { display: none; border: none; }
        &.-narrow #list { width: 1fr; }
        &.-narrow.-opened #list { display: none; }
        &.-narrow.-opened Detail { display: block; width: 1fr; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="runs.back"),
        Binding("slash", "filter", "Filter", key_display="/", id="runs.filter"),
        Binding("space", "mark", "Mark", id="runs.mark"),
        Binding("c", "compare", "Compare", id="runs.compare"),
        Binding("o", "report", "Report", id="runs.report"),
        Binding("x,delete", "delete", "Delete", key_display="x", id="runs.delete"),
        Binding("n", "sweep", "New sweep", id="runs.sweep"),
        Binding("ctrl+x", "stop", "Stop", id="runs.stop"),
        Binding("left", "layer(-1)", "Layer", show=False, id="runs.layer_down"),
        Binding("right", "layer(1)", "Layer up", show=False, id="runs.layer_up"),
        Binding("v", "tab('verdict')", "Verdict", show=False, id="runs.verdict"),
        Binding("f", "tab('figures')", "Figures", show=False, id="runs.figures"),
        Binding("t", "tab('tables')", "Tables", show=False, id="runs.tables"),
        Binding("s", "tab('samples')", "Samples", show=False, id="runs.samples"),
    ]

    def __init__(self, runs: Runs | None = None) -> None:
        super().__init__()
        self._store = runs
        self._every: list[RunSummary] = []
        self._listed: list[RunSummary] = []
        self._marked: list[str] = []
        self._complaint = ""

    @property
    def runs(self) -> Runs:
        """The store, by default localprobe's own."""
        from localprobe.store.runs import Runs

        self._store = self._store or Runs()
        return self._store

    def body(self) -> ComposeResult:
        yield SweepBar(lambda: self.runs)
        with Horizontal():
            with Vertical(id="list"):
                yield Input(placeholder="filter: words of a name, a kind or an id", id="filter", compact=True)
                yield Static(id="none", markup=False)
                yield RunList()
            yield Detail()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(RunList).focus()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self.look()

    @work(exclusive=True, group="look")
    async def look(self) -> None:
        """Read the store again."""
        try:
            self._every = await in_thread(self.runs.summaries)
            self._complaint = ""
        except LocalprobeError as error:
            # Closing the message resumes this screen, which reads the store again: show the error once.
            if str(error) != self._complaint:
                self.localprobe.show_error(error)
            self._complaint = str(error)
        self._fill()

    @on(Input.Changed, "#filter")
    def _fill(self) -> None:
        words = self.query_one("#filter", Input).value.lower().split()
        self._listed = [run for run in self._every if all(word in searched(run) for word in words)]
        self._marked = [mark for mark in self._marked if any(run.id == mark for run in self._every)]
        table = self.query_one(RunList)
        table.fill(self._listed, self._marked)
        none = self.query_one("#none", Static)
        none.display = not self._listed
        none.update(
            "No run matches." if self._every else "No runs yet. A fit (F2) is kept here, and so is a sweep (n)."
        )

    @property
    def current(self) -> RunSummary | None:
        """The run under the cursor."""
        row = self.query_one(RunList).cursor_row
        return self._listed[row] if 0 <= row < len(self._listed) else None

    @on(DataTable.RowSelected, "RunList")
    def _selected(self) -> None:
        if self.current:
            self._open(self.current)

    @work(exclusive=True, group="open")
    async def _open(self, run: RunSummary) -> None:
        detail = self.query_one(Detail)
        self.add_class("-opened")
        detail.loading = True
        try:
            with understood(run):
                detail_data = await in_thread(lambda: opened(self.runs, self.runs.get(run.id)))
                await detail.show(detail_data)
            if self.has_class("-narrow"):  # the list is hidden and must not keep the focus
                self.call_after_refresh(detail.take_focus)
        except LocalprobeError as error:
            self.remove_class("-opened")
            self.localprobe.show_error(error)
        finally:
            detail.loading = False

    def action_back(self) -> None:
        self.remove_class("-opened")
        self.query_one(RunList).focus()

    def action_filter(self) -> None:
        self.action_back()
        self.query_one("#filter", Input).focus()

    @on(Input.Submitted, "#filter")
    def _filtered(self) -> None:
        self.query_one(RunList).focus()

    def action_layer(self, places: int) -> None:
        self.query_one(Detail).move(places)

    def action_tab(self, tab: str) -> None:
        detail = self.query_one(Detail)
        detail.turn_to(tab)
        if not isinstance(self.focused, RunList):
            self.call_after_refresh(detail.take_focus)

    def action_mark(self) -> None:
        if (run := self.current) is None:
            return
        if run.id in self._marked:
            self._marked.remove(run.id)
        else:
            self._marked = [*self._marked, run.id][-2:]
        self._fill()

    @work
    async def action_compare(self) -> None:
        selected = [run for run in self._every if run.id in self._marked]
        if len(selected) != 2 or any(run.kind != "validate" for run in selected):
            self.notify("Mark two validations with Space, then press c.", severity="warning")
            return
        with errors_shown(self), understood(*selected):
            newer, older = await in_thread(lambda: [self.runs.get(run.id) for run in selected])
            self.app.push_screen(CompareScreen(older, newer))

    @work
    async def action_delete(self) -> None:
        if (run := self.current) is None:
            return
        question = f"Delete {run.kind} {run.id}, {run.name}? This cannot be undone."
        if await self.app.push_screen_wait(Notice("Delete a run", question, ("Keep it", "Delete"))) != "Delete":
            return
        with errors_shown(self):
            await in_thread(lambda: self.runs.delete(run.id))
            detail = self.query_one(Detail)
            if detail.opened and detail.opened.run.id == run.id:
                await detail.show(None)
                self.action_back()
            self.look()

    @work
    async def action_report(self) -> None:
        """Make the HTML report of the marked runs, or of the current one, and open it."""
        reported = [run for run in self._every if run.id in self._marked]
        if not reported and self.current:
            reported = [self.current]
        if not reported:
            return
        self.notify("Making the report ...")
        try:
            with understood(*reported):
                path = await in_thread(lambda: _report(self.runs, reported))
        except LocalprobeError as error:
            self.localprobe.show_error(error)
            return
        except ImportError as error:
            self.localprobe.show_error(LocalprobeError(f"{error}: run pip install 'localprobe[report]'"))
            return
        self.app.open_url(path.as_uri())
        self.app.push_screen(Notice("Report", f"The report is at {path}. If no browser opens here, open it yourself."))

    def action_sweep(self) -> None:
        self.query_one(SweepBar).ask()

    def action_stop(self) -> None:
        self.query_one(SweepBar).stop()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a running sweep can be stopped."""
        return action != "stop" or any(bar.display for bar in self.query(SweepBar))

    @on(SweepBar.Changed)
    def _swept(self) -> None:
        self.refresh_bindings()
        if self.focused is None:
            self.query_one(RunList).focus()
        self.look()


def _report(runs: Runs, selected: Sequence[RunSummary]) -> Path:
    from localprobe import report
    from localprobe.experiments.merge import fresh
    from localprobe.store.paths import data

    current = [fresh(runs, runs.get(run.id)) for run in selected]
    path = data() / "reports" / f"{'-'.join(run.id for run in selected)}.html"
    report.write(current, path)
    return path
