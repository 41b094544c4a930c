"""One run, opened: its verdict, figures, tables and texts, as tabs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.widgets import TabbedContent, TabPane

from localprobe_tui.probing.results import Results, verdict
from localprobe_tui.runs.dose_plot import DosePlot, Response, legend, responses
from localprobe_tui.widgets.links import link
from localprobe_tui.widgets.plain import DataTable, Static, plain
from localprobe_tui.widgets.plots import HIGH, LOW
from localprobe_tui.widgets.scores import readable

if TYPE_CHECKING:
    from localprobe.experiments.result import SweepResult
    from localprobe.probing.result import ProbeResult
    from localprobe.report.section import AnswerSample
    from localprobe.report.steering_arms import Arms
    from localprobe.report.table import Table
    from localprobe.store.runs import Run, Runs


@dataclass(frozen=True, slots=True)
class Opened:
    """A run and everything that is shown of it."""

    run: Run
    verdict: Content
    tables: Sequence[Table] = ()
    responses: Sequence[tuple[str, str, Response]] = ()
    """(vector in model, concept, response)."""
    samples: Sequence[AnswerSample] = ()
    probe: ProbeResult | None = None
    """The result of a validation."""


def opened(runs: Runs, run: Run) -> Opened:
    """Prepare what a run shows. It may take a moment, so call it in a thread. Raises LocalprobeError."""
    match run.kind:
        case "validate":
            from localprobe.probing.result import ProbeResult
            from localprobe.store.stored_result import result_of

            probe = result_of(ProbeResult, run)
            return Opened(run, verdict(probe), list(_probe_tables(probe)), probe=probe)
        case "sweep":
            from localprobe.experiments.merge import current_result

            return _sweep(run, current_result(runs, run))
        case "compare" | "correlate" | "reproduce":
            return _several(run)
    return Opened(
        run, Content(f"A run of kind {run.kind}. The report (o) and `localprobe runs show` show its content.")
    )


def _probe_tables(result: ProbeResult) -> Iterator[Table]:
    from localprobe.report import detection_tables as tables

    yield tables.layers(result, "layers")
    yield from tables.baselines(result, "baselines")
    if result.validation:
        yield from tables.left_out(result.validation, "left-out")


def _several(run: Run) -> Opened:
    from localprobe.probing.detection import Comparison, Ratings
    from localprobe.report import detection_tables as tables
    from localprobe.store.stored_result import result_of

    if run.kind == "correlate":
        rated = [(model.name, model.behaviour) for model in result_of(Ratings, run).models]
        return Opened(run, Content("Scores against ratings"), [tables.correlations(rated), tables.binary(rated)])
    models = result_of(Comparison, run, "detection" if run.kind == "reproduce" else "").models
    lines = [Content.assemble((model.name, "bold"), "\n", str(model.probe.verdict)) for model in models]
    shown = [tables.models(models), *(table for model in models for table in _probe_tables(model.probe))]
    return Opened(run, Content("\n\n").join(lines), shown)


def _sweep(run: Run, result: SweepResult) -> Opened:
    from localprobe.report import steering_tables as tables
    from localprobe.report.steering_arms import every
    from localprobe.report.steering_samples import samples

    arms = every(result)
    if not arms:
        none = "No answer was steered yet. Start the sweep again (n) to resume it."
        return Opened(run, Content(result.uncounted or none))
    all_tables = [tables.totals(arms), *(tables.doses(item) for item in arms), *(tables.sceptic(item) for item in arms)]
    drawn = [(f"{item.vector} in {item.name}", item.concept, response) for item in arms for response in responses(item)]
    texts = [sample for item in arms for sample in samples(item)]
    return Opened(run, Content("\n\n").join(map(_steering_verdict, arms)), all_tables, drawn, texts)


def _steering_verdict(arms: Arms) -> Content:
    from localprobe.report.steering_verdict import steering_verdict

    steering = steering_verdict(arms)
    parts = [Content.assemble((f"{arms.vector} in {arms.titled}: {steering.headline}", "bold"))]
    for title, lines in steering.lists:
        if lines:
            parts.append(Content("\n").join([Content.styled(title, "bold"), *(Content(f"· {line}") for line in lines)]))
    return Content("\n\n").join(parts)


class Detail(Vertical):
    """The run that is open, or a hint."""

    DEFAULT_CSS = """
    Detail {
        & TabPane { padding: 0; height: 1fr; }
        & TabbedContent, & ContentSwitcher { height: 1fr; }
        & VerticalScroll { padding: 0 1; scrollbar-size-vertical: 1; }
        & DataTable { height: auto; max-height: 400; margin: 0 0 1 0; scrollbar-size-horizontal: 1; }
        & .title { text-style: bold; }
        & .note { color: $foreground 70%; margin: 0 0 1 0; }
        & #hint { padding: 1 2; color: $foreground 70%; }
        & #response { border-top: solid $primary 60%; border-title-color: $foreground; }
    }
    """

    def __init__(self, **about: Any) -> None:
        super().__init__(**about)
        self.opened: Opened | None = None
        self._response = 0

    def compose(self) -> ComposeResult:
        if self.opened is None:
            yield Static("Enter, or a second click, opens a run.", id="hint")
            return
        with TabbedContent():
            with TabPane("[u]V[/u]erdict", id="verdict"), VerticalScroll():
                yield Static(self.opened.verdict)
            if self.opened.run.kind == "validate":
                with TabPane("[u]F[/u]igures", id="figures"):
                    yield Results()
            if self.opened.responses:
                with TabPane("[u]F[/u]igures", id="figures"), Vertical(id="response"):
                    yield DosePlot()
                    yield Static(legend(self.opened.responses[0][1]))
            if self.opened.tables:
                with TabPane("[u]T[/u]ables", id="tables"), VerticalScroll():
                    yield from self._tables(self.opened.tables)
            if self.opened.samples:
                with TabPane("[u]S[/u]amples", id="samples"), VerticalScroll():
                    yield Static(_texts(self.opened.samples))

    async def show(self, opened: Opened | None) -> None:
        """Show another run, or none."""
        self.opened, self._response = opened, 0
        await self.recompose()
        if opened is None:
            return
        for results in self.query(Results):
            if opened.probe:
                results.show(opened.probe)
        self.move(0)

    def move(self, places: int) -> None:
        """Go some layers up or down in the figure."""
        for results in self.query(Results):
            results.move(places)
        if self.opened is None or not self.opened.responses:
            return
        drawn = self.opened.responses
        self._response = max(0, min(self._response + places, len(drawn) - 1))
        name, _, response = drawn[self._response]
        back, on = link("←", "screen.layer(-1)"), link("→", "screen.layer(1)")
        title = Content.assemble(plain(f"{name}, layer {response.layer} ("), back, " ", on, ")")
        self.query_one("#response").border_title = title
        self.query_one(DosePlot).show(response)

    def turn_to(self, tab: str) -> None:
        """Show a tab if the run has it."""
        try:
            self.query_one(f"#{tab}", TabPane)
        except NoMatches:
            return
        self.query_one(TabbedContent).active = tab

    def take_focus(self) -> None:
        """Focus the shown tab, so that keys scroll it, if it can scroll."""
        pane = self.query_one(TabbedContent).active_pane if self.opened else None
        scrolls = list(pane.query(VerticalScroll)) if pane else []
        self.screen.set_focus(scrolls[0] if scrolls else None)

    def _tables(self, tables: Sequence[Table]) -> ComposeResult:
        for table in tables:
            yield Static(table.title, classes="title", markup=False)
            shown = DataTable(cursor_type="none", zebra_stripes=True)
            shown.add_columns(*table.columns)
            for row in table.rows:
                shown.add_row(*(str(cell) for cell in row))
            yield shown
            if table.note:
                yield Static(table.note, classes="note", markup=False)


def _texts(samples: Sequence[AnswerSample]) -> Content:
    """Sample texts with the strengths that steered them."""
    parts: list[str | Content | tuple[str, str]] = []
    for sample in samples:
        colour = HIGH if "dose +" in sample.under else LOW if "dose -" in sample.under else ""
        remark = f"  ({sample.remark})" if sample.remark else ""
        parts += [
            (sample.under, f"bold {colour}".strip()),
            f"{remark}\n{readable(sample.text.strip()) or '(nothing)'}\n\n",
        ]
    return Content.assemble(*parts)
