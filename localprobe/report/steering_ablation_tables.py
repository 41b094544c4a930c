"""Tables and a figure of ablations by share, and tables of steering expressions."""

from __future__ import annotations

from collections.abc import Sequence

from localprobe.experiments.ablation import AblationCurve, AblationSeries
from localprobe.experiments.points import Measures, SharePoint
from localprobe.experiments.pooling import average, perplexity_ratio, pooled
from localprobe.experiments.result import ModelResult
from localprobe.figures import steering as draw
from localprobe.figures.drawing import COLOURS, NEUTRAL, drawing
from localprobe.report.detection import slug
from localprobe.report.section import Figure
from localprobe.report.steering_arms import Arms
from localprobe.report.table import Measured, Table, TableCell

_Row = tuple[TableCell, ...]
_LAYERS = 4
"""The most layers that are drawn."""
_MEASURES = ("coherent", "degenerate", "reading", "perplexity ratio", "KL")
_NAMES = {"ablate": "the direction", "random-ablate": "random directions"}


def by_share(curves: Sequence[AblationCurve]) -> dict[float, list[tuple[object, SharePoint]]]:
    """The conditions of some curves at each share, ascending, each with its prompt."""
    shares: dict[float, list[tuple[object, SharePoint]]] = {}
    for curve in curves:
        for point in curve.points:
            shares.setdefault(point.share, []).append((curve.key, point))
    return dict(sorted(shares.items()))


def ablations(arms: Arms) -> list[Table]:
    """What the whole of each arm changes, and the measures by share; empty if nothing was ablated."""
    series = _series(arms)
    return [_responses(arms, series), _shares(arms, series)] if series else []


def figure(arms: Arms) -> Figure | None:
    """The share of answers by the share that is ablated, one panel per layer; None if nothing was ablated."""
    series = _series(arms)
    if not series:
        return None
    layers = draw.spread(sorted({at.layer for each in series for at in each.layers}), _LAYERS)
    name = f"ablation-{arms.slug}"
    with drawing(name, len(layers), 1, width=max(6.4, 1.6 + 2.4 * len(layers)), height=3.0) as sheet:
        for axis, layer in zip(sheet.axes, layers, strict=True):
            for each in reversed(series):  # random directions behind
                points = by_share(each.at(layer))
                draw.dose_response(
                    axis,
                    list(points),
                    [pooled(group, "rate") for group in points.values()],
                    [pooled(group, "degenerate") for group in points.values()],
                    colour=COLOURS[0] if each.arm == "ablate" else NEUTRAL,
                    label=_NAMES[each.arm],
                    marker="o",
                )
            axis.set(xlabel="share ablated", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
            axis.set_title(f"direction of layer {layer}")
        sheet.axes[0].set_ylabel(f"answers in {arms.concept} language")
        sheet.finish()
    return Figure(
        name,
        f"Share of answers in {arms.concept} language in {arms.titled} by the share of a direction that is ablated at "
        "every layer, over all prompts, with 95 % intervals. 0: unsteered. A cross: half of the answers or more are "
        "degenerate.",
        sheet.svg,
        wide=len(layers) > 1,
    )


def expressions(model: ModelResult, concept: str) -> Table:
    """Each expression against the unsteered answers to the same prompts."""
    rows: list[_Row] = []
    for each in model.expressed:
        plain = [(point.key, point.unsteered) for point in each.points]
        steered = [(point.key, point.steered) for point in each.points]
        before, after = Measured.of(pooled(plain, "rate")), Measured.of(pooled(steered, "rate"))
        answers = sum(point.samples for _, point in steered)
        changes = Measured.of(each.change), Measured.of(each.reading)
        rows.append((each.expression, answers, before, after, changes[0], *_costs(steered), changes[1]))
    columns = ("expression", "answers", f"{concept}, unsteered", concept, "change", *_MEASURES, "change of reading")
    return Table(
        f"expressions-{slug(f'{model.model}-{model.engine}')}",
        "Steering expressions",
        columns,
        tuple(rows),
        "Over all prompts. Change: of the share of answers, from the unsteered ones. Reading: the score of the texts "
        f"by the first vector of an expression, with nothing steered ({_read_at(model)}). Perplexity and KL: under the "
        "unsteered model; KL is of the first token, before any gate on tokens has opened.",
    )


def expression_prompts(model: ModelResult, concept: str) -> Table:
    """Every expression on every prompt."""
    rows = [
        (
            each.expression,
            point.title if point.pressure else f"{point.title}, no pressure",
            point.steered.samples,
            Measured.of(point.unsteered.rate),
            Measured.of(point.steered.rate),
            *_costs([(point.key, point.steered)]),
        )
        for each in model.expressed
        for point in each.points
    ]
    columns = ("expression", "prompt", "answers", f"{concept}, unsteered", concept, *_MEASURES)
    name = f"expressions-by-prompt-{slug(f'{model.model}-{model.engine}')}"
    return Table(name, "Steering expressions by prompt", columns, tuple(rows))


def _series(arms: Arms) -> list[AblationSeries]:
    return [series for arm in _NAMES if (series := arms.ablation(arm))]


def _responses(arms: Arms, series: Sequence[AblationSeries]) -> Table:
    rows: list[_Row] = []
    for each in series:
        for layer in each.layers:
            response = layer.response
            figures = response.change, response.slope, response.monotonicity, response.reading
            usable = "none" if response.usable is None else f"up to {response.usable:g}"
            rows.append(
                (_NAMES[each.arm], layer.layer, Measured(response.share), *map(Measured.of, figures), usable),
            )
    columns = ("ablated", "layer", "largest share", "change", "slope", "monotonicity", "change of reading", "usable")
    return Table(
        f"ablation-{arms.slug}",
        "Ablation: from nothing to all of the direction",
        columns,
        tuple(rows),
        f"Brackets: 95 % intervals. Change: of the share of answers in {arms.concept} language at the largest share, "
        "from the unsteered ones. Slope: the same on a straight line, for a share of 1. Monotonicity: Spearman's "
        "correlation. An ablation has no sign: nothing is up or down, and no rule of success applies. Layer: whose "
        "direction is ablated, at every layer.",
    )


def _shares(arms: Arms, series: Sequence[AblationSeries]) -> Table:
    rows = [
        (
            _NAMES[each.arm],
            layer.layer,
            Measured(share),
            sum(point.samples for _, point in points),
            Measured.of(pooled(points, "rate")),
            *_costs(points),
        )
        for each in series
        for layer in each.layers
        for share, points in by_share(each.at(layer.layer)).items()
    ]
    columns = ("ablated", "layer", "share", "answers", arms.concept, *_MEASURES)
    return Table(f"ablation-by-share-{arms.slug}", "Measures by share ablated", columns, tuple(rows))


def _costs(points: Sequence[tuple[object, Measures]]) -> list[TableCell]:
    return [
        Measured(pooled(points, "coherent").share, percent=True),
        Measured.of(pooled(points, "degenerate")),
        Measured(average(points, "reading")),
        Measured(perplexity_ratio(points)),
        Measured(average(points, "kl")),
    ]


def _read_at(model: ModelResult) -> str:
    return ", ".join(dict.fromkeys(f"{facts.vector} at layer {facts.layer}" for facts in model.expressions))
