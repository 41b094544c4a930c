"""The return value of a sweep from Python: its result, the run with every answer, and views for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from localprobe.errors import UsageError
from localprobe.experiments.experiment import ABLATING
from localprobe.experiments.export import lines
from localprobe.experiments.grid import EXPRESSION
from localprobe.experiments.result import SweepResult
from localprobe.figures import steering as figures
from localprobe.stats.estimates import Mean, mean
from localprobe.stats.intervals import bracketed
from localprobe.stats.rates import Rate, rate
from localprobe.store.runs import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_TREATMENT = ("arm", "vector", "layer", "share", "steering")
"""What tells treatments apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """All answers of one condition, over all prompts."""

    layer: int | None
    expresses: Rate | None
    """Answers in the positive pole's words; None where the concept has no word lists."""
    coherent: Rate
    degenerate: Rate
    reading: Mean | None
    """The probe's score of the texts, read with nothing added; None if it was not measured."""
    sample: str
    """One of the answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength(Pooled):
    """All answers at one layer and strength of the vector."""

    dose: float
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment(Pooled):
    """All answers under an ablation or a steering expression, which have no dose."""

    arm: str
    """`ablate`, `random-ablate` or `steering`."""
    share: float | None
    """What an ablation takes away, up to 1."""
    steering: str
    """The expression."""

    def __str__(self) -> str:
        if self.steering:
            return self.steering
        whose = "a random direction" if self.arm == "random-ablate" else "the direction"
        return f"{whose} ablated, share {self.share:g}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SweepReport:
    """A sweep, finished or not."""

    result: SweepResult
    """Every figure, as runs keep it."""
    run: str
    """Id of the run."""
    runs: Runs
    """The store that holds it."""

    def answers(self, arm: str = "all") -> list[dict[str, Any]]:
        """Every answer of an arm with its measures, as `localprobe runs export` writes them; `vector` includes the
        unsteered answers. Raises UsageError if there are none."""
        return lines(self.runs, self.runs.get(self.run), arm)

    def to_frame(self) -> Any:
        """Every answer as a pandas DataFrame: one row per answer."""
        import pandas as pd

        return pd.DataFrame(self.answers())

    def strengths(self) -> list[Strength]:
        """The answers steered by the vector, pooled by layer and strength, the unsteered ones at strength 0 of each."""
        records = [record for record in self.answers() if record["arm"] in ("baseline", "vector")]
        plain = [record for record in records if record["layer"] is None]
        layers = sorted({record["layer"] for record in records if record["layer"] is not None})
        pooled = []
        for layer in layers:
            steered = [record for record in records if record["layer"] == layer]
            name = next((f"{record['vector']}:{layer}" for record in steered), "")
            for dose in sorted({record["dose"] for record in steered} | ({0.0} if plain else set())):
                alike = [record for record in steered if record["dose"] == dose] if dose else plain
                where = {"dose": alike[0]["dose"], "alpha": alike[0]["alpha"]}
                pooled.append(Strength(**where, **_pooled(layer, alike, name)))
        return pooled

    def treatments(self) -> list[Treatment]:
        """The answers under ablations and steering expressions, pooled by what was done."""
        kinds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for record in self.answers():
            if record["arm"] in (*ABLATING, EXPRESSION):
                kinds.setdefault(tuple(record[name] for name in _TREATMENT), []).append(record)
        found = []
        for kind, alike in kinds.items():
            where = dict(zip(_TREATMENT, kind, strict=True))
            layer, vector = where.pop("layer"), where.pop("vector")
            found.append(Treatment(**where, **_pooled(layer, alike, f"{vector}:{layer}")))
        return found

    def plot(self, axis: Axes | None = None) -> Axes:
        """Draw the effect by dose, one line per layer; returns matplotlib Axes.

        It is the share of answers in the concept's words, with crosses where half of the answers or more are
        degenerate; or, for a concept without word lists, the probe's reading of the answers. UsageError before there
        are answers.
        """
        strengths = self.strengths()
        if not strengths:
            raise UsageError(f"run {self.run} has no steered answers yet: call `sweep` again to resume it")
        if axis is None:
            from matplotlib import pyplot as plt

            axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")[1]
        self._draw(axis, strengths)
        return axis

    def __repr__(self) -> str:
        cells = self.result.cells
        models = ", ".join(dict.fromkeys(model.model for model in self.result.models))
        done = f"{cells.done} of {cells.expected} answers"
        return f"<SweepReport {self.result.name!r} on {models}: {done}, run {self.run}>"

    def _repr_html_(self) -> str:
        """For notebooks: the curve, and a table with the figures and one answer of each strength."""
        strengths, treatments = self.strengths(), self.treatments() if self.result.cells.done else []
        if not strengths and not treatments:
            return f"<pre>{escape(repr(self))}</pre>"
        from localprobe.figures.drawing import drawing

        svg = ""
        if strengths:
            with drawing(f"sweep-{self.run}", height=3.0) as sheet:
                self._draw(sheet.axes[0], strengths)
            svg = sheet.svg
        columns = ("layer", "dose", "in its words", "degenerate", "reading", "answer")
        head = "".join(f"<th>{name}</th>" for name in columns)
        listed = [*((point, f"{point.dose:+.2f}") for point in strengths), *((each, str(each)) for each in treatments)]
        rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(*each))}</tr>" for each in listed)
        return f"<div>{svg}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"

    def _draw(self, axis: Axes, strengths: Sequence[Strength]) -> None:
        from localprobe.figures.drawing import MARKERS, colour

        layers = list(dict.fromkeys(point.layer for point in strengths))
        for number, layer in enumerate(layers):
            points = [point for point in strengths if point.layer == layer]
            doses = [point.dose for point in points]
            style: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)], "label": f"layer {layer}"}
            if all(point.expresses for point in points):
                rates = [point.expresses for point in points if point.expresses]
                degenerate = [point.degenerate for point in points]
                figures.dose_response(axis, doses, rates, degenerate, colour=colour(number), **style)
                axis.set_ylabel(f"answers in the words of {self.result.concept}", parse_math=False)
                axis.set_ylim(-0.04, 1.04)
            else:
                readings = [point.reading.value if point.reading else float("nan") for point in points]
                axis.plot(doses, readings, color=colour(number), markersize=3, **style)
                axis.set(ylabel="probe's reading of the answers")
        axis.set(xlabel="dose")
        axis.legend()


def _pooled(layer: int | None, records: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The fields of `Pooled`, of at least one record."""
    expresses = [record["expresses"] for record in records]
    return {
        "layer": layer,
        "expresses": rate(sum(expresses), len(expresses)) if None not in expresses else None,
        "coherent": rate(sum(record["coherent"] for record in records), len(records)),
        "degenerate": rate(sum(bool(record["degenerate"]) for record in records), len(records)),
        "reading": mean([value for record in records if (value := (record["readings"] or {}).get(name)) is not None]),
        "sample": records[0]["text"],
    }


def _cells(point: Pooled, steered: str) -> tuple[str, ...]:
    def share(value: Rate | None) -> str:
        return "" if value is None else bracketed(value.share, value.interval, ".0%")

    reading = "" if point.reading is None else f"{point.reading.value:+.2f}"
    text = " ".join(point.sample.split())
    excerpt = escape(text if len(text) <= 160 else f"{text[:157]}...")
    return str(point.layer), escape(steered), share(point.expresses), share(point.degenerate), reading, excerpt
