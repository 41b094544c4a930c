"""A validation on the screen: the verdict in words, AUROC by layer, and the scores of both poles at one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.screen import ModalScreen

from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Static, plain
from localprobe_tui.widgets.plots import AurocPlot, histogram, legend

if TYPE_CHECKING:
    from localprobe.probing.result import ProbeResult


def verdict(result: ProbeResult, *, headline: bool = True) -> Content:
    """The verdict on a probe, most important first; without the headline if that is shown elsewhere."""
    if (said := result.verdict) is None:
        return Content("It was not validated.")
    parts = [Content.styled(said.headline, "bold")] if headline else []
    for title, lines in (("It shows", said.shows), ("It does not show", said.does_not_show)):
        if lines:
            parts.append(Content("\n").join([Content.styled(title, "bold"), *(Content(f"· {line}") for line in lines)]))
    return Content("\n\n").join(parts)


class VerdictDialog(ModalScreen[None]):
    """The whole verdict, in a dialog."""

    DEFAULT_CSS = """
    VerdictDialog {
        align: center middle;
        & > VerticalScroll {
            width: 90; max-width: 94%; height: auto; max-height: 90%; padding: 1 2; background: $surface;
            border: round $primary; border-title-color: $foreground;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,v,enter", "dismiss(None)", "Close", id="dialog.close")]

    def __init__(self, result: ProbeResult) -> None:
        super().__init__()
        self._result = result

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = "Verdict"
            box.border_subtitle = closes()
            yield Static(verdict(self._result))

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()


class Histogram(Static):
    """Scores of both poles at one layer, as large as the space allows."""

    DEFAULT_CSS = "Histogram { height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Sequence[float], Sequence[float], float, str] | None = None

    def show(self, positive: Sequence[float], negative: Sequence[float], threshold: float, note: str) -> None:
        """Draw the scores of the test texts, with a note at the threshold."""
        self._shown = (positive, negative, threshold, note)
        self.on_resize()

    def on_resize(self) -> None:
        if self._shown and self.size.width:
            positive, negative, threshold, note = self._shown
            rows = max(1, (self.size.height - 2) // 2)
            self.update(histogram(positive, negative, threshold=threshold, width=self.size.width, rows=rows, note=note))


class Legend(Static):
    """The meaning of the plot's marks."""

    DEFAULT_CSS = "Legend { height: auto; min-height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._result: ProbeResult | None = None

    def show(self, result: ProbeResult) -> None:
        """Name the marks of a probe's plot."""
        self._result = result
        self.on_resize()

    def on_resize(self) -> None:
        if self._result and self.size.width:
            self.update(legend(self._result, self.size.width))


class Results(Vertical):
    """AUROC by layer over the scores at one layer. A click on a layer shows it and posts `LayerChanged`."""

    DEFAULT_CSS = """
    Results {
        & > Vertical { height: 3fr; min-height: 8; border-top: solid $primary 60%; border-title-color: $foreground; }
        & > #scores { height: 2fr; min-height: 5; max-height: 15; }
    }
    """

    chosen: reactive[int] = reactive(0, init=False)
    """The layer that is shown."""

    @dataclass
    class LayerChanged(Message):
        """Another layer is shown."""

        layer: int

    def __init__(self, **about: Any) -> None:
        super().__init__(**about)
        self.result: ProbeResult | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="auroc") as box:
            box.border_title = "AUROC by layer"
            yield AurocPlot()
            yield Legend()
        with Vertical(id="scores"):
            yield Histogram()

    def show(self, result: ProbeResult) -> None:
        """Show a probe's figures at its cross-validated layer."""
        self.result = result
        self.query_one(Legend).show(result)
        self.set_reactive(Results.chosen, result.layer)
        self.watch_chosen()

    def move(self, places: int) -> None:
        """Move `places` layers up or down."""
        if self.result:
            layers = [row.layer for row in self.result.layers]
            self.chosen = layers[max(0, min(layers.index(self.chosen) + places, len(layers) - 1))]

    def watch_chosen(self) -> None:
        if (result := self.result) is None:
            return
        at, row, scores = result.index(self.chosen), result.at(self.chosen), result.scores
        bounds = "[{:.2f}, {:.2f}]".format(*row.auroc_interval)
        self.query_one(AurocPlot).show(result, self.chosen)
        self.query_one("#auroc").border_title = plain(f"AUROC · layer {self.chosen}{self._why(result)}")
        box = self.query_one("#scores")
        box.display = scores is not None
        box.border_title = plain(f"Scores at layer {self.chosen}: AUROC {row.auroc:.2f} {bounds}")
        if scores:
            note = f" · {row.accuracy:.0%} right"
            self.query_one(Histogram).show(scores.positive[at], scores.negative[at], scores.threshold[at], note)
        self.post_message(self.LayerChanged(self.chosen))

    def _why(self, result: ProbeResult) -> str:
        if self.chosen == result.layer:
            return ", chosen on training pairs"
        return ", best on the test pairs" if self.chosen == result.best.layer else ""

    @on(AurocPlot.LayerChosen)
    def _clicked(self, event: AurocPlot.LayerChosen) -> None:
        event.stop()
        self.chosen = event.layer
