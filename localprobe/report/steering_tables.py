"""The paper's Table 4 from a sweep's result, and tables of its controls."""

from __future__ import annotations

from collections.abc import Sequence

from localprobe.experiments.points import Point
from localprobe.experiments.pooling import Grouped, average, by_strength, perplexity_ratio, pooled
from localprobe.experiments.result import Series
from localprobe.report.steering_arms import ABLATED, BASELINE, DOWN, RANDOM_ABLATED, UP, Arms, End, steered
from localprobe.report.table import Measured, Table, TableCell
from localprobe.stats.rates import Rate, grouped_rate

_Row = tuple[TableCell, ...]


def table_4(vectors: Sequence[Arms]) -> Table:
    """Success by model, layer and scenario, by the paper's rule and the strict one."""
    rows: list[_Row] = []
    for arms in vectors:
        own = arms.series("vector")
        for curve in own.curves if own else ():
            points = [(curve.key, point) for point in curve.points if point.alpha]
            rows.append(
                (
                    arms.titled,
                    curve.layer,
                    arms.titles[curve.key],
                    _share(curve.success.paper),
                    Measured.of(curve.success.strict),
                    curve.success.null_effects,
                    curve.success.cells,
                    _share(pooled(points, "coherent")),
                    _share(pooled(points, "degenerate")),
                )
            )
    columns = (
        *("model", "layer", "scenario", "success, paper's rule", "success, strict", "null effects", "cells"),
        *("coherent, paper's rule", "degenerate"),
    )
    return Table(
        "table-4",
        "Table 4. Steering success by layer and scenario",
        columns,
        tuple(rows),
        "A null effect is a negative strength that changed nothing: the paper's rule counts it as a success, the "
        "strict one does not. Where the unsteered answers all have the language, the paper's rule gives the share of "
        "negative strengths, whatever happens.",
    )


def totals(vectors: Sequence[Arms]) -> Table:
    """Every series of every model as a whole."""
    rows = [_total(arms, series) for arms in vectors for series in arms.all_series]
    columns = (
        *("model", "arm", "success, paper's rule", "success, strict", "null effects", "broken", "cells"),
        *("degenerate", "slope", "usable"),
    )
    return Table(
        "steering-totals",
        "Totals",
        columns,
        tuple(rows),
        "Brackets: 95 % intervals. Broken: strict successes where half of the answers or more are incoherent or "
        "degenerate. Slope: change of the share per unit of strength. Usable: strengths at which, and at all "
        "smaller ones, more than half of the answers are coherent and not degenerate.",
    )


def doses(arms: Arms) -> Table:
    """The vector's measures by layer and dose, over all prompts."""
    own = arms.series("vector")
    return _doses(arms, [own] if own else [], f"doses-{arms.slug}", "Measures by dose")


def other_doses(arms: Arms) -> Table:
    """The measures of random directions, and of the vector under each system prompt."""
    others = [series for series in arms.all_series if series.arm != "vector"]
    return _doses(arms, others, f"doses-of-other-arms-{arms.slug}", "Measures by dose of the other arms")


def conditions(arms: Arms) -> Table:
    """Every condition with all its measures and intervals."""
    rows = [
        (_arm(series), curve.layer, arms.titles[curve.key], *_condition(point))
        for series in arms.all_series
        for curve in series.curves
        for point in curve.points
    ]
    columns = (
        *("arm", "layer", "prompt", "dose", "alpha", "answers", arms.concept, "coherent", "degenerate", "fooled"),
        *("truncated", "tokens", "score", "reading", "reading above", "perplexity", "perplexity ratio", "KL"),
        *("judge", "why degenerate"),
    )
    return Table(f"conditions-{arms.slug}", "Every condition", columns, tuple(rows))


def system_prompts(arms: Arms) -> Table | None:
    """What the opposite system prompts do with no vector, prompt by prompt; None if they were not run."""
    if not any(prompt.positive or prompt.negative for prompt in arms.model.prompts):
        return None
    rows: list[_Row] = []
    for key, prompt in arms.prompts.items():
        rates = (point.rate if point else None for point in (prompt.negative, prompt.baseline, prompt.positive))
        given = (prompt.negative, prompt.positive)
        broken = [_share(point.degenerate if point else None) for point in given]
        ratios = [Measured(perplexity_ratio([(key, point)]) if point else None) for point in given]
        rows.append((arms.titles[key], *map(Measured.of, rates), *broken, *ratios))
    columns = (
        *("prompt", "negative system prompt", "none", "positive system prompt"),
        *("degenerate under negative", "degenerate under positive"),
        *("perplexity ratio under negative", "perplexity ratio under positive"),
    )
    title = f"System prompts with no vector: share of answers in {arms.concept} language"
    return Table(f"system-prompts-{arms.slug}", title, columns, tuple(rows))


def sceptic(arms: Arms) -> Table:
    """The vector at the ends of its usable range, compared with the other arms and with ablations."""
    ways = ("pulled away", "pulled towards", *(["ablated"] if arms.ablated else []))
    what: dict[str, tuple[End | None, ...]] = {
        "vector": (DOWN, UP, None),
        "random directions, same strength": (("random", -1), ("random", 1), None),
        "system prompts, no vector": (("prompt", -1), ("prompt", 1), None),
        "both": (("both", -1), ("both", 1), None),
        "its direction ablated": (None, None, ABLATED),
        "random directions ablated": (None, None, RANDOM_ABLATED),
    }
    rows = [_compared(arms, "nothing", (None, BASELINE, None)[: len(ways)], (BASELINE, BASELINE, None)[: len(ways)])]
    for name, ends in what.items():
        if any(arms.rate(end) for end in ends if end):
            rows.append(_compared(arms, name, ends[: len(ways)]))
    short = [way.removeprefix("pulled ") for way in ways]
    columns = (
        "what",
        *(f"{arms.concept}, {way}" for way in ways),
        *(f"{cost}, {way}" for cost in ("degenerate", "perplexity ratio", "KL") for way in short),
    )
    return Table(
        f"sceptic-{arms.slug}",
        "What does the vector do that a prompt does not?",
        columns,
        tuple(rows),
        "At the largest strengths that keep the vector's answers usable, layer by layer, over all layers and "
        f"{'the prompts with their pressure' if arms.split else 'prompts'}.{arms.ablated}",
    )


def _compared(arms: Arms, what: str, ends: Sequence[End | None], costs: Sequence[End | None] = ()) -> _Row:
    """A row of the sceptic's table: rates, then costs, at each end."""
    points = [arms.points(end) if end else [] for end in costs or ends]
    return (
        what,
        *(Measured.of(arms.rate(end) if end else None) for end in ends),
        *(_share(pooled(group, "degenerate") if group else None) for group in points),
        *(Measured(perplexity_ratio(group)) for group in points),
        *(Measured(average(group, "kl")) for group in points),
    )


def pressure(arms: Arms) -> Table | None:
    """With and without the scenarios' pressure; None unless both were run."""
    own = arms.series("vector")
    without = [prompt for prompt in arms.titles if not prompt[1]]
    with_it = [prompt for prompt in arms.titles if prompt[1] and (prompt[0], False) in without]
    if own is None or not with_it:
        return None
    rows: list[_Row] = []
    for what, prompts in (("with the pressure", with_it), ("without", without)):
        successes = [curve.success for curve in own.curves if curve.key in prompts]
        if successes:
            rates = (arms.rate(end, prompts) for end in (DOWN, BASELINE, UP))
            paper = grouped_rate([(success.paper.count, success.paper.of) for success in successes])
            strict = grouped_rate([(success.strict.count, success.strict.of) for success in successes])
            rows.append((what, *map(Measured.of, (*rates, paper, strict))))
    columns = ("prompts", "pulled away", "unsteered", "pulled towards", "success, paper's rule", "success, strict")
    title = f"Pressure as a condition: share of answers in {arms.concept} language"
    return Table(f"pressure-{arms.slug}", title, columns, tuple(rows), "At the ends of the usable range.")


def _total(arms: Arms, series: Series) -> _Row:
    success, usable = series.success, series.response.usable
    return (
        arms.titled,
        _arm(series),
        Measured.of(success.paper),
        Measured.of(success.strict),
        success.null_effects,
        success.broken,
        success.cells,
        _share(pooled(steered(series), "degenerate")),
        Measured.of(series.response.slope),
        f"{usable[0]:+g} to {usable[1]:+g}" if usable else "none",
    )


def _doses(arms: Arms, several: Sequence[Series], name: str, title: str) -> Table:
    rows = [
        _dose(series, layer.layer, points)
        for series in several
        for layer in series.layers
        for points in by_strength(series.at(layer.layer), arms.model.strength).values()
    ]
    columns = (
        *("arm", "layer", "dose", "alpha", "answers", arms.concept, "coherent", "degenerate", "fooled"),
        *("score", "reading", "perplexity ratio", "KL", "judge"),
    )
    needless = {
        *(["arm"] if len({row[0] for row in rows}) < 2 else []),
        *(["judge"] if all(str(row[-1]) == "-" for row in rows) else []),
    }
    filled = [i for i, column in enumerate(columns) if column not in needless]
    return Table(
        name,
        title,
        tuple(columns[i] for i in filled),
        tuple(tuple(row[i] for i in filled) for row in rows),
        f"Over all prompts, {arms.concept} being the share of answers in which the positive pole's words outnumber the "
        "other's. Fooled: degenerate answers that the paper's rule calls coherent. Score: the probe's score while "
        "steered, including the added vector. Reading: its score with nothing added. Perplexity and KL: "
        "under the unsteered model.",
    )


def _dose(series: Series, layer: int, points: Sequence[Grouped]) -> _Row:
    first = points[0][1]
    return (
        _arm(series),
        layer,
        Measured(first.dose),
        Measured(first.alpha),
        sum(point.samples for _, point in points),
        Measured.of(pooled(points, "rate")),
        _share(pooled(points, "coherent")),
        Measured.of(pooled(points, "degenerate")),
        sum(point.fooled for _, point in points),
        Measured(average(points, "score")),
        Measured(average(points, "reading")),
        Measured(perplexity_ratio(points)),
        Measured(average(points, "kl")),
        Measured(average(points, "judge")),
    )


def _condition(point: Point) -> _Row:
    return (
        Measured(point.dose),
        Measured(point.alpha),
        point.samples,
        *map(Measured.of, (point.rate, point.coherent, point.degenerate)),
        point.fooled,
        point.truncated,
        Measured(point.tokens, digits=0),
        *map(Measured.of, (point.score, point.reading, point.reading_above)),
        Measured(point.perplexity, digits=1),
        Measured.of(point.perplexity_ratio),
        Measured(point.kl),
        Measured.of(point.judge),
        ", ".join(f"{reason} ({number})" for reason, number in point.reasons.items()),
    )


def _arm(series: Series) -> str:
    return f"vector, {series.pole} prompt" if series.pole else series.arm


def _share(rate: Rate | None) -> Measured:
    return Measured(rate.share if rate else None, percent=True)
