"""Sections about steering: all models together, then each vector in each model, with the verdicts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from localprobe.experiments.result import ModelResult, SweepResult
from localprobe.report import steering_ablation_tables as ablation
from localprobe.report import steering_figures as figures
from localprobe.report import steering_tables as tables
from localprobe.report.section import Section
from localprobe.report.steering_ablation import expressions_headline, on_expression
from localprobe.report.steering_arms import Arms, every
from localprobe.report.steering_samples import expression_samples, samples
from localprobe.report.steering_verdict import SteeringVerdict, steering_verdict


def sections(result: SweepResult) -> list[Section]:
    """The sections of a sweep, finished or not."""
    vectors = every(result)
    verdicts = [steering_verdict(arms) for arms in vectors]
    by_expression = [expressed(result, model) for model in result.models if model.expressed]
    return [together(result, vectors, verdicts), *map(one, vectors, verdicts), *by_expression]


def together(result: SweepResult, vectors: Sequence[Arms], verdicts: Sequence[SteeringVerdict]) -> Section:
    """Table 4, Figures 6 to 9, and one line per vector and model, grouped by label."""
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
    steered = vectors or any(model.expressed for model in result.models)
    added = any(arms.all_series for arms in vectors)
    return Section(
        f"Steering: {result.name}",
        result.uncounted or ("" if steered else "No answer was steered yet."),
        lists=(*((label, tuple(group)) for label, group in lines.items()), ("How", _terms(result))),
        figures=tuple(figure for figure in drawn if figure),
        tables=(*([tables.totals(vectors)] if added else []), *([tables.table_4(own)] if own else [])),
    )


def one(arms: Arms, verdict: SteeringVerdict) -> Section:
    """One vector in one model."""
    drawn = figures.dose_response(arms), ablation.figure(arms)
    own_tables = [tables.sceptic(arms), *ablation.ablations(arms), tables.system_prompts(arms), tables.pressure(arms)]
    folded = [tables.other_doses(arms), tables.conditions(arms)]
    if arms.series("vector"):
        own_tables.insert(0, tables.doses(arms))
    return Section(
        f"{arms.vector} in {arms.model.model} on {arms.model.engine}",
        verdict.headline,
        lists=verdict.lists,
        figures=tuple(figure for figure in drawn if figure),
        tables=tuple(table for table in own_tables if table),
        details=tuple(table for table in folded if table.rows),
        samples=samples(arms),
    )


def expressed(result: SweepResult, model: ModelResult) -> Section:
    """The steering expressions in one model."""
    return Section(
        f"Steering expressions in {model.model} on {model.engine}",
        expressions_headline(model.expressed),
        lists=(("It shows", tuple(on_expression(each, result.concept) for each in model.expressed)),),
        tables=(ablation.expressions(model, result.concept),),
        details=(ablation.expression_prompts(model, result.concept),),
        samples=expression_samples(model, result.concept),
    )


def _terms(result: SweepResult) -> tuple[str, ...]:
    cells = result.cells
    sampling = ", ".join(f"{name} {value:g}" for name, value in asdict(result.sampling).items() if value)
    arms = (*result.arms, *(["steering"] if result.steering else []))
    lines = [
        f"{result.samples} answers of at most {result.tokens} tokens per condition, {sampling}, seed "
        f"{result.seed}; steered at {result.positions} positions; arms: {', '.join(arms) or 'none'}."
    ]
    if result.shares:
        lines.append(f"Ablated: a share of {', '.join(f'{share:g}' for share in result.shares)}, at every layer.")
    if result.steering:
        lines.append(f"Steering expressions: {'; '.join(result.steering)}.")
    if missing := cells.missing:
        lines.append(
            f"Not finished: {missing:,} of {cells.expected:,} answers are not yet generated. This report "
            "covers the others."
        )
    if unmeasured := cells.done - cells.measured:
        lines.append(f"Perplexity, KL and readings of {unmeasured:,} answers were not measured.")
    return tuple(lines)
