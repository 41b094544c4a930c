"""The paper's Table 4 out of a sweep's result, and the tables that it should be read beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localprobe.report.steering_arms import (
    BASELINE,
    Arms,
    At,
    End,
    Result,
    average,
    perplexity_ratio,
    pooled,
    steered,
)
from localprobe.report.table import Cell, Measured, Table
from localprobe.stats.rates import Rate, grouped_rate

_Row = tuple[Cell, ...]


def table_4(found: Sequence[Arms]) -> Table:
    """Success by model, layer and scenario, the strict one beside the paper's."""
    rows: list[_Row] = []
    for arms in found:
        own = arms.series("vector")
        for curve in own["curves"] if own else ():
            prompt, success = (curve["scenario"], curve["pressure"]), curve["success"]
            points = [(prompt, point) for point in curve["points"] if point["alpha"]]
            rows.append(
                (
                    arms.titled,
                    curve["layer"],
                    arms.titles[prompt],
                    Measured(success["paper"]["share"], percent=True),
                    _rate(success["strict"]),
                    success["null_effects"],
                    success["cells"],
                    Measured(pooled(points, "coherent").share, percent=True),
                    Measured(pooled(points, "degenerate").share, percent=True),
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


def totals(found: Sequence[Arms]) -> Table:
    """Every series of every model as a whole."""
    rows = [_total(arms, series) for arms in found for series in arms.all_series if series["curves"]]
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
        "degenerate. Slope: change of the share for one unit of strength. Usable: strengths at which, and at all "
        "smaller ones, more than half of the answers are whole.",
    )


def doses(arms: Arms) -> Table:
    """The vector's measures by layer and dose, over all prompts."""
    own = arms.series("vector")
    return _doses(arms, [own] if own else [], f"doses-{arms.slug}", "Measures by dose")


def other_doses(arms: Arms) -> Table:
    """The same of random directions, and of the vector under each system prompt."""
    others = [each for each in arms.all_series if each["arm"] != "vector" and each["curves"]]
    return _doses(arms, others, f"doses-of-other-arms-{arms.slug}", "Measures by dose of the other arms")


def conditions(arms: Arms) -> Table:
    """Every condition by itself, with every interval."""
    rows: list[_Row] = []
    for series in arms.all_series:
        for curve in series["curves"]:
            title = arms.titles[curve["scenario"], curve["pressure"]]
            rows += [(_arm(series), curve["layer"], title, *_condition(point)) for point in curve["points"]]
    columns = (
        *("arm", "layer", "prompt", "dose", "alpha", "answers", arms.concept, "coherent", "degenerate", "fooled"),
        *("truncated", "tokens", "score", "reading", "reading above", "perplexity", "perplexity ratio", "KL"),
        *("judge", "why degenerate"),
    )
    return Table(f"conditions-{arms.slug}", "Every condition", columns, tuple(rows))


def system_prompts(arms: Arms) -> Table | None:
    """What the opposite system prompts do with no vector, prompt by prompt; None if they were not run."""
    if not any(each["positive"] or each["negative"] for each in arms.model["prompts"]):
        return None
    rows: list[_Row] = []
    for each in arms.model["prompts"]:
        prompt = (each["scenario"], each["pressure"])
        points = [each[what] for what in ("negative", "baseline", "positive")]
        rates = [_rate(point["rate"]) if point else Measured(None) for point in points]
        given = (points[0], points[2])
        broken = [Measured(point["degenerate"]["share"] if point else None, percent=True) for point in given]
        ratios = [Measured(perplexity_ratio([(prompt, point)]) if point else None) for point in given]
        rows.append((arms.titles[prompt], *rates, *broken, *ratios))
    columns = (
        *("prompt", "negative system prompt", "none", "positive system prompt"),
        *("degenerate under negative", "degenerate under positive"),
        *("perplexity ratio under negative", "perplexity ratio under positive"),
    )
    title = f"System prompts with no vector: share of answers in {arms.concept} language"
    return Table(f"system-prompts-{arms.slug}", title, columns, tuple(rows))


def sceptic(arms: Arms) -> Table:
    """The vector at the ends of its usable range, beside all that it should be compared with."""
    ends: dict[str, tuple[End, End]] = {
        "vector": (("vector", -1), ("vector", 1)),
        "random directions, same strength": (("random", -1), ("random", 1)),
        "system prompts, no vector": (("prompt", -1), ("prompt", 1)),
        "both": (("both", -1), ("both", 1)),
    }
    rows: list[_Row] = [("nothing", Measured(None), _of(arms, BASELINE, "rate"), *_costs(arms, BASELINE, BASELINE))]
    for what, (down, up) in ends.items():
        if arms.points(down) or arms.points(up):
            rows.append((what, _of(arms, down, "rate"), _of(arms, up, "rate"), *_costs(arms, down, up)))
    columns = (
        *("what", f"{arms.concept}, pulled away", f"{arms.concept}, pulled towards", "degenerate, away"),
        *("degenerate, towards", "perplexity ratio, away", "perplexity ratio, towards", "KL, away", "KL, towards"),
    )
    return Table(
        f"sceptic-{arms.slug}",
        "What does the vector do that a prompt does not?",
        columns,
        tuple(rows),
        "At the largest strengths that keep the vector's answers usable, layer by layer, over all layers and "
        f"{'the prompts with their pressure' if arms.split else 'prompts'}.",
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
        curves = [curve for curve in own["curves"] if (curve["scenario"], curve["pressure"]) in prompts]
        if curves:
            ends: tuple[End, ...] = (("vector", -1), BASELINE, ("vector", 1))
            rates = [_of(arms, end, "rate", prompts) for end in ends]
            rows.append((what, *rates, _success(curves, "paper"), _success(curves, "strict")))
    columns = ("prompts", "pulled away", "unsteered", "pulled towards", "success, paper's rule", "success, strict")
    title = f"Pressure as a condition: share of answers in {arms.concept} language"
    return Table(f"pressure-{arms.slug}", title, columns, tuple(rows), "At the ends of the usable range.")


def _total(arms: Arms, series: Result) -> _Row:
    success, response, points = series["success"], series["response"], list(steered(series))
    slope, usable = response["slope"], response["usable"]
    return (
        arms.titled,
        _arm(series),
        _rate(success["paper"]),
        _rate(success["strict"]),
        success["null_effects"],
        success["broken"],
        success["cells"],
        Measured(pooled(points, "degenerate").share, percent=True),
        Measured(slope["value"], (slope["low"], slope["high"])),
        f"{usable[0]:+g} to {usable[1]:+g}" if usable else "none",
    )


def _doses(arms: Arms, several: Sequence[Result], name: str, title: str) -> Table:
    rows = [
        _dose(arms, series, layer["layer"], strength)
        for series in several
        for layer in series["layers"]
        for strength in sorted({point[arms.unit] for curve in _at(series, layer["layer"]) for point in curve["points"]})
    ]
    columns = (
        *("arm", "layer", "dose", "alpha", "answers", arms.concept, "coherent", "degenerate", "fooled"),
        *("score", "reading", "perplexity ratio", "KL", "judge"),
    )
    needless = {
        *(["arm"] if len({row[0] for row in rows}) < 2 else []),
        *(["judge"] if all(str(row[-1]) == "-" for row in rows) else []),
    }
    kept = [i for i, column in enumerate(columns) if column not in needless]
    return Table(
        name,
        title,
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
        f"Over all prompts, {arms.concept} being the share of answers in which the positive pole's words outnumber the "
        "other's. Fooled: degenerate answers that the paper's rule calls coherent. Score: the probe's as it was while "
        "steered, the added vector in it. Reading: the probe's of the same text with nothing added. Perplexity and KL: "
        "under the unsteered model.",
    )


def _dose(arms: Arms, series: Result, layer: int, strength: float) -> _Row:
    points: list[At] = [
        ((curve["scenario"], curve["pressure"]), point)
        for curve in _at(series, layer)
        for point in curve["points"]
        if point[arms.unit] == strength
    ]
    first = points[0][1]
    return (
        _arm(series),
        layer,
        Measured(first["dose"]),
        Measured(first["alpha"]),
        sum(point["samples"] for _, point in points),
        _share(pooled(points, "rate")),
        Measured(pooled(points, "coherent").share, percent=True),
        _share(pooled(points, "degenerate")),
        sum(point["fooled"] for _, point in points),
        Measured(average(points, "score")),
        Measured(average(points, "reading")),
        Measured(perplexity_ratio(points)),
        Measured(average(points, "kl")),
        Measured(average(points, "judge")),
    )


def _condition(point: Result) -> _Row:
    return (
        Measured(point["dose"]),
        Measured(point["alpha"]),
        point["samples"],
        *(_rate(point[what]) for what in ("rate", "coherent", "degenerate")),
        point["fooled"],
        point["truncated"],
        Measured(point["tokens"], digits=0),
        *(_mean(point[what]) for what in ("score", "reading", "reading_above")),
        Measured(point["perplexity"], digits=1),
        _mean(point["perplexity_ratio"]),
        Measured(point["kl"]),
        _mean(point["judge"]),
        ", ".join(f"{reason} ({number})" for reason, number in point["reasons"].items()),
    )


def _at(series: Result, layer: int) -> list[Result]:
    return [curve for curve in series["curves"] if curve["layer"] == layer]


def _arm(series: Result) -> str:
    return f"vector, {series['pole']} prompt" if series["pole"] else str(series["arm"])


def _of(arms: Arms, end: End, what: str, prompts: Sequence[tuple[str, bool]] = ()) -> Measured:
    points = arms.points(end, prompts)
    return _share(pooled(points, what)) if points else Measured(None)


def _costs(arms: Arms, down: End, up: End) -> list[Cell]:
    ends = (arms.points(down), arms.points(up))
    return [
        *(Measured(pooled(at, "degenerate").share if at else None, percent=True) for at in ends),
        *(Measured(perplexity_ratio(points)) for points in ends),
        *(Measured(average(points, "kl")) for points in ends),
    ]


def _success(curves: Sequence[Result], rule: str) -> Measured:
    found = [curve["success"][rule] for curve in curves]
    return _share(grouped_rate([(round(each["share"] * each["of"]), each["of"]) for each in found]))


def _share(found: Rate) -> Measured:
    return Measured(found.share, found.interval, percent=True)


def _rate(found: Mapping[str, Any]) -> Measured:
    return Measured(found["share"], (found["low"], found["high"]), percent=True)


def _mean(found: Mapping[str, Any] | None) -> Measured:
    if found is None:
        return Measured(None)
    return Measured(found["value"], None if found["low"] is None else (found["low"], found["high"]))
