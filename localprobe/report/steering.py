"""Sections about steering: all models together, then each vector in each model, verdicts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from localprobe.experiments.result import SweepResult
from localprobe.report import steering_figures as figures
from localprobe.report import steering_tables as tables
from localprobe.report.section import Section
from localprobe.report.steering_arms import Arms, every
from localprobe.report.steering_samples import samples
from localprobe.report.steering_verdict import SteeringVerdict, steering_verdict


def sections(result: SweepResult) -> list[Section]:
    """What a sweep shows, whole or half done."""
    vectors = every(result)
    verdicts = [steering_verdict(arms) for arms in vectors]
    return [together(result, vectors, verdicts), *map(one, vectors, verdicts)]


def together(result: SweepResult, vectors: Sequence[Arms], verdicts: Sequence[SteeringVerdict]) -> Section:
    """Table 4, Figures 6 to 9, and a line for every vector and model, those of one label together."""
    lines: dict[str, list[str]] = {}
    for arms, verdict in zip(vectors, verdicts, strict=True):
        lines.setdefault(arms.model.label or "Models", []).append(f"{arms.name}: {verdict.headline}")
    drawn = (
        figures.models_dose_response(vectors),
        figures.baselines(vectors),
        figures.by_scenario(vectors),
        figures.by_layer(vectors),
    )
    own = [arms for arms in vectors if arms.series("vector")]
    return Section(
        f"Steering: {result.name}",
        result.uncounted or ("" if vectors else "No answer was steered yet."),
        lists=(*((label, tuple(group)) for label, group in lines.items()), ("How", _terms(result))),
        figures=tuple(figure for figure in drawn if figure),
        tables=(*([tables.totals(vectors)] if vectors else []), *([tables.table_4(own)] if own else [])),
    )


def one(arms: Arms, verdict: SteeringVerdict) -> Section:
    """One vector in one model."""
    drawn = figures.dose_response(arms)
    shown = [tables.sceptic(arms), tables.system_prompts(arms), tables.pressure(arms)]
    folded = [tables.other_doses(arms), tables.conditions(arms)]
    if arms.series("vector"):
        shown.insert(0, tables.doses(arms))
    return Section(
        f"{arms.vector} in {arms.model.model} on {arms.model.engine}",
        verdict.headline,
        lists=verdict.lists,
        figures=(drawn,) if drawn else (),
        tables=tuple(table for table in shown if table),
        details=tuple(table for table in folded if table.rows),
        samples=samples(arms),
    )


def _terms(result: SweepResult) -> tuple[str, ...]:
    """The terms of the sweep, and what is missing of it."""
    cells = result.cells
    sampling = ", ".join(f"{name} {value:g}" for name, value in asdict(result.sampling).items() if value)
    lines = [
        f"{result.samples} answers of at most {result.tokens} tokens a condition, {sampling}, seed "
        f"{result.seed}; steered at {result.positions} positions; arms: {', '.join(result.arms)}."
    ]
    if missing := cells.missing:
        lines.append(
            f"Not finished: {missing:,} of {cells.expected:,} answers are not yet generated. What is below "
            "holds for those that are there."
        )
    if unmeasured := cells.done - cells.measured:
        lines.append(f"Perplexity, KL and readings of {unmeasured:,} answers were not measured.")
    return tuple(lines)
