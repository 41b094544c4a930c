"""Two validations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from localprobe_tui.plots import AurocPlot

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
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Back", id="compare.close")]

    def __init__(self, first: Run, second: Run) -> None:
        super().__init__()
        self._runs = (first, second)

    def compose(self) -> ComposeResult:
        with Horizontal(id="both"):
            for run in self._runs:
                with Vertical(classes="one") as box:
                    box.border_title = f"{run.name} · {run.id}"
                    yield Static(run.result["verdict"]["headline"], classes="headline", markup=False)
                    yield AurocPlot()
        with VerticalScroll():
            yield DataTable(cursor_type="none", zebra_stripes=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        first, second = (run.result for run in self._runs)
        for plot, found in zip(self.query(AurocPlot), (first, second), strict=True):
            plot.show(found, found["nested"]["layer"])
        table = self.query_one(DataTable)
        table.add_columns("", *(run.id for run in self._runs))
        for name, one, other in rows(first, second):
            table.add_row(name, one, other)

    def action_close(self) -> None:
        self.dismiss()


def rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, the one's, the other's), figures with their intervals."""
    one, other = _figures(first), _figures(second)
    return [(name, one.get(name, "-"), other.get(name, "-")) for name in {**one, **other}]


def _figures(found: Mapping[str, Any]) -> dict[str, str]:
    on, nested, words = found.get("measured_on") or {}, found["nested"], found["baselines"]
    figures = {
        "model": " on ".join(str(on[name]) for name in ("model", "engine") if on.get(name)) or "-",
        "method": found["method"],
        "pairs fitted / tested": f"{found['train_pairs']} / {found['test_pairs']}",
        "layer chosen": str(nested["layer"]),
        "AUROC there": _area(nested),
        "accuracy there": f"{nested['accuracy']:.0%}",
        "best layer on the test pairs": f"{found['best']['layer']}: {_area(found['best'])}",
        "permutation p": f"{found['permutation']['p']:.2g}",
        "bag of words": _area(words["bag_of_words"]),
        f"best word, {words['best_word'].get('word')}": _area(words["best_word"]),
        "length in words": _area(words["length_words"]),
    }
    if words.get("layer_0"):
        figures["layer 0"] = _area(words["layer_0"])
    if found.get("lexical"):
        figures["without keywords"] = _area(found["lexical"]["after"])
    for by, left in (found.get("leave_one_out") or {}).items():
        figures[f"{by} left out"] = _area(left["pooled"])
    if found.get("neutral"):
        figures["neutral texts (0 low, 1 high)"] = f"{found['neutral']['position']:.2f}"
    return figures


def _area(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['auroc']:.2f} [{low:.2f}, {high:.2f}]"
