"""The paper's Figures 6 to 9 from a sweep's result: small multiples with intervals, random directions in grey."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from localprobe.experiments.pooling import by_strength, pooled
from localprobe.experiments.result import CurvePoints, PromptKey, Series
from localprobe.figures import steering as draw
from localprobe.figures.drawing import COLOURS, MARKERS, NEGATIVE, NEUTRAL, Sheet, colour, drawing
from localprobe.report.section import Figure
from localprobe.report.steering_arms import Arms
from localprobe.report.steering_resistance import resistance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS, _COLUMNS = 4, 4
"""The most layers and scenarios that are drawn, so that panels stay legible."""
_MODELS = 6
_STYLES = {True: "-", False: "--"}


def dose_response(arms: Arms) -> Figure | None:
    """Figures 6 and 9: one panel per layer and scenario."""
    own, random = arms.series("vector"), arms.series("random")
    if own is None:
        return None
    layers = draw.spread([at.layer for at in own.layers], _ROWS)
    scenarios = list(dict.fromkeys(curve.scenario for curve in own.curves))
    drawn = scenarios[:_COLUMNS]
    name = f"figure-6-{arms.slug}"
    size = {"width": 1.6 + 2.4 * len(drawn), "height": 1.1 + 1.9 * len(layers)}
    with drawing(name, len(drawn), len(layers), **size) as sheet:
        panels = [(layer, scenario) for layer in layers for scenario in drawn]
        for i, (axis, (layer, scenario)) in enumerate(zip(sheet.axes, panels, strict=True)):
            for series in filter(None, (random, own)):
                for curve in series.at(layer):
                    if curve.scenario == scenario:
                        _curve(axis, curve, series, arms.split)
            first = i % len(drawn) == 0
            axis.set(ylim=(-0.04, 1.04), yticks=(0, 0.5, 1), yticklabels=("0", "50%", "100%") if first else ())
            if i < len(drawn):
                axis.set_title(arms.titles.get((scenario, True), scenario))
            if first:
                axis.set_ylabel(f"layer {layer}")
            axis.locator_params(axis="x", nbins=5)
            if i >= len(panels) - len(drawn):
                axis.set_xlabel("dose")
        sheet.finish()
    left_out = [
        f"{len(every) - len(some)} {what} are in the tables only"
        for every, some, what in ((own.layers, layers, "layers"), (scenarios, drawn, "prompts"))
        if len(every) > len(some)
    ]
    return Figure(
        name,
        f"Share of answers in {arms.concept} language by dose in {arms.titled}, by layer and scenario, with 95 % "
        f"intervals{', where the pressure is in' if arms.split else ''} (the paper's Figures 6 and 9). A cross: half "
        "of the answers or more are degenerate. "
        f"{' '.join((_alphas(own, layers), *(f'{part}.' for part in left_out)))}",
        sheet.svg,
        wide=True,
    )


def models_dose_response(vectors: Sequence[Arms]) -> Figure | None:
    """Figure 6 for several models at once, over their layers; None for one, which has its own."""
    drawn = [arms for arms, _ in _own(vectors)]
    if len(drawn) < 2:
        return None
    titles = {prompt: title for arms in drawn for prompt, title in arms.titles.items()}
    prompts = list(titles)[: 2 * _COLUMNS]
    columns = min(3, len(prompts))
    rows = -(-len(prompts) // columns)
    with drawing("figure-6", columns, rows, width=1.4 + 2.6 * columns, height=0.9 + 2.1 * rows) as sheet:
        for axis, prompt in zip(sheet.axes, prompts, strict=False):
            for i, arms in enumerate(drawn):
                _pooled_curve(axis, arms, prompt, i)
            axis.set(title=titles[prompt], xlabel="dose", ylim=(-0.04, 1.04))
        sheet.finish(len(prompts))
        sheet.axes[0].set_ylabel(f"{drawn[0].concept} language")
    return Figure(
        "figure-6",
        "Dose-response of each model over its layers, with 95 % intervals (the paper's Figure 6). A cross: half of the "
        "answers or more are degenerate. Grey: random directions, of all models.",
        sheet.svg,
        wide=True,
    )


def baselines(vectors: Sequence[Arms]) -> Figure | None:
    """Figure 7: unsteered answers by model and prompt."""
    models = list({id(arms.model): arms for arms in vectors}.values())[:_MODELS]
    titles = {prompt: title for arms in models for prompt, title in arms.titles.items()}
    prompts = [p for p in titles if any(p in arms.prompts and arms.prompts[p].baseline for arms in models)]
    if not prompts:
        return None
    height = 0.8 / len(models)
    with drawing("figure-7", height=0.9 + max(0.3, 0.16 * len(models)) * len(prompts)) as sheet:
        (axis,) = sheet
        for i, arms in enumerate(models):
            plain = {prompts.index(key): prompt.baseline for key, prompt in arms.prompts.items() if prompt.baseline}
            rates = [plain[y].rate for y in sorted(plain)]
            places = [y + (i - (len(models) - 1) / 2) * height for y in sorted(plain)]
            share = [rate.share for rate in rates]
            label = f"{arms.model.model} ({arms.model.label})" if arms.model.label else arms.model.model
            axis.barh(places, share, height * 0.9, color=colour(i), alpha=0.65, label=label)
            axis.errorbar(share, places, xerr=draw.errors(rates), fmt="none", color=NEUTRAL, linewidth=1)
        axis.set(yticks=range(len(prompts)), yticklabels=[titles[prompt] for prompt in prompts], xlim=(0, 1.02))
        axis.set_xlabel(f"share of unsteered answers in {models[0].concept} language")
        axis.invert_yaxis()
        sheet.finish()
    return Figure(
        "figure-7",
        "Unsteered answers by prompt, with 95 % intervals (the paper's Figure 7). At 100 % nothing can be raised, and "
        "the paper's rule gives the share of negative strengths whatever the model does; at 0 nothing can be lowered.",
        sheet.svg,
    )


def by_scenario(vectors: Sequence[Arms]) -> Figure | None:
    """Figure 8, whether a prompt resists: success by both rules, with prompts that had no room marked."""
    drawn = _own(vectors)
    if not drawn:
        return None
    with _panels("figure-8", len(drawn), 0.9 + 0.3 * max(len(arms.titles) for arms, _ in drawn)) as sheet:
        for axis, (arms, own) in zip(sheet.axes, drawn, strict=False):
            titles = list(arms.titles.values())
            for y, (key, prompt) in enumerate(arms.prompts.items()):
                if resisting := resistance(own, key):
                    axis.plot(resisting.paper, y, "o", ms=9, mfc="none", color=NEGATIVE, label="paper's rule")
                    if rate := resisting.own:
                        error = draw.errors([rate])
                        axis.errorbar(rate.share, y, xerr=error, fmt="o", color=COLOURS[0], label="strict, with room")
                    if prompt.baseline and prompt.baseline.rate.share in (0, 1):
                        titles[y] += f"\nbaseline {prompt.baseline.rate.share:.0%}"
            axis.axvline(0.5, color=NEUTRAL, linewidth=0.6)
            axis.set(yticks=range(len(titles)), yticklabels=titles, xlim=(-0.03, 1.03), ylim=(len(titles) - 0.5, -0.5))
            axis.set(title=arms.titled, xlabel="success")
        sheet.finish(len(drawn))
    return Figure(
        "figure-8",
        "Success by prompt, over layers (the paper's Figure 8): by the paper's rule, and strictly, among the cells "
        "where the unsteered share left room to move, with 95 % intervals. A baseline of 100 % scores exactly "
        "the share of negative strengths by the paper's rule, whatever the model does: that is no resistance.",
        sheet.svg,
        wide=len(drawn) > 1,
    )


def by_layer(vectors: Sequence[Arms]) -> Figure | None:
    """Figure 9 and the detection-steering gap: AUROC and success by layer on one axis."""
    drawn = _own(vectors)
    if not drawn:
        return None
    with _panels("figure-9", len(drawn), 2.6) as sheet:
        for axis, (arms, own) in zip(sheet.axes, drawn, strict=False):
            draw.by_layer(
                axis,
                [at.layer for at in own.layers],
                [at.success.strict for at in own.layers],
                [at.success.paper for at in own.layers],
                [at.auroc for at in own.layers],
            )
            axis.set_title(arms.titled)
        sheet.finish(len(drawn))
    return Figure(
        "figure-9",
        "Reading and steering by layer: AUROC on pairs held out, and steering success over prompts and strengths, with "
        "95 % intervals (the paper's Figure 9 and its detection-steering gap). The layer that reads best need not be "
        "the one that steers best.",
        sheet.svg,
        wide=len(drawn) > 1,
    )


def _curve(axis: Axes, curve: CurvePoints, series: Series, split: bool) -> None:
    """One line with intervals, unless they would overlap those of the same prompt with its pressure."""
    own = series.arm == "vector"
    draw.dose_response(
        axis,
        [point.dose for point in curve.points],
        [point.rate for point in curve.points],
        [point.degenerate for point in curve.points],
        colour=COLOURS[0] if own else NEUTRAL,
        intervals="" if split and not curve.pressure else "bars" if own else "band",
        label=f"{'vector' if own else 'random directions'}{'' if curve.pressure else ', no pressure'}",
        linestyle=_STYLES[curve.pressure],
        marker="o",
    )


def _pooled_curve(axis: Axes, arms: Arms, prompt: PromptKey, number: int) -> None:
    for arm in ("random", "vector"):
        series = arms.series(arm)
        curves = [curve for curve in series.curves if curve.key == prompt] if series else []
        doses = by_strength(curves, lambda point: round(point.dose, 6), lambda curve: curve.layer)
        if not doses:
            continue
        own = arm == "vector"
        style: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)]} if own else {"alpha": 0.5}
        draw.dose_response(
            axis,
            list(doses),
            [pooled(points, "rate") for points in doses.values()],
            [pooled(points, "degenerate") for points in doses.values()],
            colour=colour(number) if own else NEUTRAL,
            intervals="band" if own else "",
            label=arms.titled if own else "random directions",
            **style,
        )


def _alphas(own: Series, layers: Sequence[int]) -> str:
    """The alpha of a dose at each layer."""
    steered = {layer: (p for curve in own.at(layer) for p in curve.points if p.dose) for layer in layers}
    ratios = {layer: point.alpha / point.dose for layer, points in steered.items() if (point := next(points, None))}
    return f"Alpha is the dose times {', '.join(f'{ratio:.3g} at layer {layer}' for layer, ratio in ratios.items())}."


def _panels(name: str, number: int, height: float) -> AbstractContextManager[Sheet]:
    columns = min(3, number)
    rows = -(-number // columns)
    width = {1: 6.4, 2: 8.0}.get(columns, 10.0)
    return drawing(name, columns, rows, width=width, height=0.5 + height * rows)


def _own(vectors: Sequence[Arms]) -> list[tuple[Arms, Series]]:
    """The vectors that were used alone, with their series; at most as many as one figure can distinguish."""
    return [(arms, own) for arms in vectors if (own := arms.series("vector"))][:_MODELS]
