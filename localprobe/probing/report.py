"""The return value of `fit`: the probe as a vector, and its figures, with views for notebooks and terminals."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from localprobe.errors import UsageError
from localprobe.probing.result import LayerResult, ProbeResult, Verdict
from localprobe.stats.intervals import bracketed
from localprobe.vectors.vector import Vector

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProbeReport:
    """A fitted probe and its measures."""

    vector: Vector
    """The probe: one direction per layer, `vector.best` the cross-validated layer."""
    result: ProbeResult
    """Every figure, as runs keep it."""
    run: str = ""
    """Id of the run that holds the result; empty if it was not recorded."""

    @property
    def verdict(self) -> Verdict | None:
        """What the probe shows and does not show; None unless it was validated."""
        return self.result.verdict

    @property
    def layer(self) -> int:
        """The cross-validated layer: chosen inside the training pairs."""
        return self.result.layer

    @property
    def layers(self) -> tuple[LayerResult, ...]:
        """The figures of each layer on the pairs held out; empty if fewer than two were."""
        return self.result.layers

    def plot(self, axis: Axes | None = None) -> Axes:
        """Draw AUROC by layer with its intervals, random directions and a bag of words; returns matplotlib Axes.

        UsageError if no pair was held out.
        """
        if not self.layers:
            raise UsageError("no pair was held out, so there is nothing to draw: fit with a `test_fraction` above 0")
        if axis is None:
            from matplotlib import pyplot as plt

            axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")[1]
        self.result.draw_auroc(axis)
        return axis

    def to_frame(self) -> Any:
        """The figures as a pandas DataFrame: one row per layer, intervals in columns `*_low` and `*_high`.

        Without rows if no pair was held out.
        """
        import pandas as pd

        rows = [_row(row) for row in self.layers]
        return pd.DataFrame(rows, columns=None if rows else ["layer"]).set_index("layer")

    def __repr__(self) -> str:
        result = self.result
        measured = f", AUROC {result.chosen.auroc:.2f} on {result.test_pairs} pairs" if result.layers else ""
        return f"<ProbeReport {result.name}: layer {result.layer}{measured}>"

    def __str__(self) -> str:
        """A few lines for a terminal: the verdict, and the figures at the cross-validated layer."""
        result = self.result
        about = f"{result.config.method}, {result.config.pooling}, fitted on {result.train_pairs} pairs"
        lines = [f"{result.name}: layer {result.layer}, {about}"]
        if self.layers:
            row = result.chosen
            measured = f"AUROC {bracketed(row.auroc, row.auroc_interval)}, accuracy {row.accuracy:.0%}"
            lines.append(f"{measured} on {result.test_pairs} pairs held out")
        if self.verdict:
            lines += [self.verdict.headline, *(f"does not show: {line}" for line in self.verdict.does_not_show[:2])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: the verdict, the curve, and the cross-validated layer's figures."""
        if not self.layers:
            return f"<pre>{escape(str(self))}</pre>"
        from localprobe.figures.drawing import drawing

        with drawing(f"report-{self.run or 'unrecorded'}", width=6.4, height=3.0) as sheet:
            self.result.draw_auroc(*sheet)
        lists = []
        if self.verdict:
            for title, lines in (("It shows", self.verdict.shows), ("It does not show", self.verdict.does_not_show)):
                items = "".join(f"<li>{escape(line)}</li>" for line in lines)
                lists.append(f"<details><summary>{title} ({len(lines)})</summary><ul>{items}</ul></details>")
        head = f"<b>{escape(self.verdict.headline if self.verdict else repr(self))}</b>"
        return f"<div>{head}{''.join(lists)}{sheet.svg}{_table(self.result)}</div>"


def _row(row: LayerResult) -> dict[str, Any]:
    values: dict[str, Any] = {"layer": row.layer}
    for name, value in row.measures.items():
        low, high = getattr(row, f"{name}_interval")
        values |= {name: value, f"{name}_low": low, f"{name}_high": high}
    if row.random:
        values |= {"random_mean": row.random.mean, "random_std": row.random.std, "z": row.random.z}
    return values


def _table(result: ProbeResult) -> str:
    """The cross-validated layer and the best one, as an HTML table."""
    rows = []
    titled = (("cross-validated", result.chosen), ("best on the test pairs, which flatters it", result.best))
    for title, row in titled:
        figures = (
            bracketed(row.auroc, row.auroc_interval, value_spec=".3f"),
            bracketed(row.accuracy, row.accuracy_interval, ".0%"),
            bracketed(row.separation, row.separation_interval),
        )
        cells = "".join(f"<td>{cell}</td>" for cell in (title, str(row.layer), *figures))
        rows.append(f"<tr>{cells}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", "layer", "AUROC", "accuracy", "separation"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
