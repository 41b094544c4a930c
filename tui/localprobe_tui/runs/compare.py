"""Two validations side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer

from localprobe.probing.result import ProbeResult
from localprobe.stats.intervals import bracketed
from localprobe.store.stored_result import result_of
from localprobe_tui.widgets.plain import DataTable, Static, plain
from localprobe_tui.widgets.plots import AurocPlot

if TYPE_CHECKING:
    from localprobe.store.runs import Run


class CompareScreen(Screen[None]):
    """Verdicts and AUROC by layer next to each other, the figures in one table below."""

    DEFAULT_CSS = """
    CompareScreen {
        & .one { width: 1fr; height: 100%; border-top: solid $primary 60%; border-title-color: $foreground; }
        & #both { height: 1fr; }
        & .headline { height: auto; max-height: 5; padding: 0 1; text-style: bold; }
        & VerticalScroll { height: auto; max-height: 50%; border-top: solid $primary 60%; }
        & DataTable { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back", id="compare.close")]

    def __init__(self, first: Run, second: Run) -> None:
        super().__init__()
        self._runs = (first, second)
        self._results = (result_of(ProbeResult, first), result_of(ProbeResult, second))

    def compose(self) -> ComposeResult:
        with Horizontal(id="both"):
            for run, result in zip(self._runs, self._results, strict=True):
                with Vertical(classes="one") as box:
                    box.border_title = plain(f"{run.name} · {run.id}")
                    yield Static(str(result.verdict), classes="headline", markup=False)
                    yield AurocPlot()
        with VerticalScroll():
            yield DataTable(cursor_type="none", zebra_stripes=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        for plot, result in zip(self.query(AurocPlot), self._results, strict=True):
            plot.show(result, result.layer)
        table = self.query_one(DataTable)
        table.add_columns("", *(run.id for run in self._runs))
        for name, left, right in rows(*self._results):
            table.add_row(name, left, right)


def rows(first: ProbeResult, second: ProbeResult) -> list[tuple[str, str, str]]:
    """(name, first, second): figures with their intervals."""
    left, right = _figures(first), _figures(second)
    return [(name, left.get(name, "-"), right.get(name, "-")) for name in {**left, **right}]


def _figures(result: ProbeResult) -> dict[str, str]:
    on, chosen, best, validation = result.measured_on, result.chosen, result.best, result.validation
    figures = {
        "model": f"{on.model} on {on.engine}" if on else "-",
        "method": result.config.method,
        "pairs fitted / tested": f"{result.train_pairs} / {result.test_pairs}",
        "layer chosen": str(chosen.layer),
        "AUROC there": bracketed(chosen.auroc, chosen.auroc_interval),
        "accuracy there": f"{chosen.accuracy:.0%}",
        "best layer on the test pairs": f"{best.layer}: {bracketed(best.auroc, best.auroc_interval)}",
    }
    if validation is None:
        return figures
    figures["permutation p"] = f"{validation.permutation.p:.2g}"
    if words := validation.baselines:
        named = {
            "bag of words": words.bag_of_words,
            f"best word, {words.best_word.word}": words.best_word,
            "length in words": words.length_words,
            "layer 0": words.layer_0,
        }
        figures |= {name: bracketed(line.auroc, line.interval) for name, line in named.items() if line}
    if validation.lexical:
        figures["without keywords"] = bracketed(validation.lexical.after.auroc, validation.lexical.after.interval)
    for by, left in validation.leave_one_out.items():
        figures[f"{by} left out"] = bracketed(left.pooled.auroc, left.pooled.interval)
    if validation.neutral:
        figures["neutral texts (0 low, 1 high)"] = f"{validation.neutral.position:.2f}"
    return figures
