"""Sections about steering: all models together, then each vector in each model, verdicts first."""

from __future__ import annotations

from collections.abc import Sequence

from localprobe.report import steering_figures as figures
from localprobe.report import steering_tables as tables
from localprobe.report.section import Section
from localprobe.report.steering_arms import Arms, Result, every
from localprobe.report.steering_samples import samples
from localprobe.report.steering_verdict import Verdict, judge


def sections(result: Result) -> list[Section]:
    """What a sweep shows, whole or half done."""
    found = every(result)
    verdicts = [judge(arms) for arms in found]
    return [
        together(result, found, verdicts),
        *(one(arms, verdict) for arms, verdict in zip(found, verdicts, strict=True)),
    ]


def together(result: Result, found: Sequence[Arms], verdicts: Sequence[Verdict]) -> Section:
    """Table 4, Figures 6 to 9, and a line for every vector and model, those of one label together."""
    lines: dict[str, list[str]] = {}
    for arms, verdict in zip(found, verdicts, strict=True):
        lines.setdefault(arms.label or "Models", []).append(f"{arms.name}: {verdict.headline}")
    drawn = (
        figures.models_dose_response(found),
        figures.baselines(found),
        figures.by_scenario(found),
        figures.by_layer(found),
    )
    shown = [arms for arms in found if arms.series("vector")]
    return Section(
        f"Steering: {result['name']}" if result.get("name") else "Steering",
        "" if found else "No answer was steered yet.",
        lists=(
            *((label, tuple(each)) for label, each in lines.items()),
            ("How", _how(result)),
        ),
        figures=tuple(each for each in drawn if each),
        tables=(*([tables.totals(found)] if found else []), *([tables.table_4(shown)] if shown else [])),
    )


def one(arms: Arms, verdict: Verdict) -> Section:
    """One vector in one model."""
    drawn = figures.dose_response(arms)
    shown = [tables.sceptic(arms), tables.system_prompts(arms), tables.pressure(arms)]
    folded = [tables.other_doses(arms), tables.conditions(arms)]
    if arms.series("vector"):
        shown.insert(0, tables.doses(arms))
    return Section(
        f"{arms.vector} in {arms.model['model']} on {arms.model['engine']}",
        verdict.headline,
        lists=(
            ("It shows", verdict.shows),
            ("It does not show", verdict.does_not_show),
            ("At what cost", verdict.cost),
            ("By the paper's rule, and strictly", verdict.rules),
            ("What does it do that a system prompt does not?", verdict.prompts),
        ),
        figures=(drawn,) if drawn else (),
        tables=tuple(table for table in shown if table),
        details=tuple(table for table in folded if table.rows),
        samples=samples(arms),
    )


def _how(result: Result) -> tuple[str, ...]:
    """The terms of the sweep, and what is missing of it."""
    cells = result.get("cells")
    if not cells:
        return ("Nothing of this sweep was kept yet.",)
    sampling = ", ".join(f"{name} {value:g}" for name, value in result["sampling"].items() if value)
    lines = [
        f"{result['samples']} answers of at most {result['tokens']} tokens a condition, {sampling}, seed "
        f"{result['seed']}; steered at {result['positions']} positions; arms: {', '.join(result['arms'])}."
    ]
    if missing := cells["expected"] - cells["done"]:
        lines.append(
            f"Not finished: {missing:,} of {cells['expected']:,} answers are still to be generated. What is below "
            "holds for those that are there."
        )
    if unmeasured := cells["done"] - cells["measured"]:
        lines.append(f"Perplexity, KL and readings of {unmeasured:,} answers were not measured.")
    return tuple(lines)
