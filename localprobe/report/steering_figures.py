"""The paper's Figures 6 to 9 out of a sweep's result: small multiples with intervals, random directions in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from localprobe.report.drawing import COLOURS, MARKERS, NEGATIVE, NEUTRAL, Sheet, band, drawing
from localprobe.report.section import Figure
from localprobe.report.steering_arms import Arms, At, Prompt, Result, pooled
from localprobe.report.steering_resistance import resistance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS, _COLUMNS = 4, 4
"""The most layers and scenarios that are drawn: more panels cannot be read."""
_MODELS = 6
_STYLES = {True: "-", False: "--"}


def dose_response(arms: Arms) -> Figure | None:
    """Figures 6 and 9: a panel for each layer and scenario."""
    own, random = arms.series("vector"), arms.series("random")
    if own is None:
        return None
    layers = _spread([each["layer"] for each in own["layers"]], _ROWS)
    scenarios = list(dict.fromkeys(curve["scenario"] for curve in own["curves"]))
    shown = scenarios[:_COLUMNS]
    name = f"figure-6-{arms.slug}"
    size = {"width": 1.6 + 2.4 * len(shown), "height": 1.1 + 1.9 * len(layers)}
    with drawing(name, len(shown), len(layers), **size) as sheet:
        panels = [(layer, scenario) for layer in layers for scenario in shown]
        for i, (axis, (layer, scenario)) in enumerate(zip(sheet.axes, panels, strict=True)):
            for series, colour in ((random, NEUTRAL), (own, COLOURS[0])):
                for curve in series["curves"] if series else ():
                    if (curve["layer"], curve["scenario"]) == (layer, scenario):
                        _curve(axis, curve, colour, "random directions" if series is random else "vector", arms.split)
            first = i % len(shown) == 0
            axis.set(ylim=(-0.04, 1.04), yticks=(0, 0.5, 1), yticklabels=("0", "50%", "100%") if first else ())
            if i < len(shown):
                axis.set_title(arms.titles.get((scenario, True), scenario))
            if first:
                axis.set_ylabel(f"layer {layer}")
            axis.locator_params(axis="x", nbins=5)
            if i >= len(panels) - len(shown):
                axis.set_xlabel("dose")
        _legend(sheet)
    left_out = [
        f"{len(every) - len(some)} {what} are in the tables only"
        for every, some, what in ((own["layers"], layers, "layers"), (scenarios, shown, "prompts"))
        if len(every) > len(some)
    ]
    return Figure(
        name,
        f"Share of answers in {arms.concept} language by dose in {arms.titled}, by layer and scenario, with 95 % "
        f"intervals{', where the pressure is in' if arms.split else ''} (the paper's Figures 6 and 9). A cross: half "
        "of the answers or more are degenerate. "
        f"{' '.join((_alphas(own, layers), *(f'{each}.' for each in left_out)))}",
        sheet.svg,
        wide=True,
    )


def models_dose_response(found: Sequence[Arms]) -> Figure | None:
    """Figure 6 for several models at once, over their layers; None for one, which has its own."""
    shown = [arms for arms in found if arms.series("vector")][:_MODELS]
    if len(shown) < 2:
        return None
    prompts = list(dict.fromkeys(prompt for arms in shown for prompt in arms.titles))[: 2 * _COLUMNS]
    titles = {prompt: title for arms in shown for prompt, title in arms.titles.items()}
    columns = min(3, len(prompts))
    rows = -(-len(prompts) // columns)
    with drawing("figure-6", columns, rows, width=1.4 + 2.6 * columns, height=0.9 + 2.1 * rows) as sheet:
        for axis, prompt in zip(sheet.axes, prompts, strict=False):
            for i, arms in enumerate(shown):
                _pooled_curve(axis, arms, prompt, i)
            axis.set(title=titles[prompt], xlabel="dose", ylim=(-0.04, 1.04))
        _finish(sheet, len(prompts))
        sheet.axes[0].set_ylabel(f"{shown[0].concept} language")
    return Figure(
        "figure-6",
        "Dose-response of each model over its layers, with 95 % intervals (the paper's Figure 6). A cross: half of the "
        "answers or more are degenerate. Grey: random directions, of all models.",
        sheet.svg,
        wide=True,
    )


def baselines(found: Sequence[Arms]) -> Figure | None:
    """Figure 7: unsteered answers by model and prompt."""
    models = list({id(arms.model): arms for arms in found}.values())[:_MODELS]
    prompts = [p for arms in models for p in arms.titles if any(each.baseline(p) for each in _having(models, p))]
    prompts = list(dict.fromkeys(prompts))
    if not prompts:
        return None
    titles = {prompt: title for arms in models for prompt, title in arms.titles.items()}
    height = 0.8 / len(models)
    with drawing("figure-7", height=0.9 + max(0.3, 0.16 * len(models)) * len(prompts)) as sheet:
        (axis,) = sheet
        for i, arms in enumerate(models):
            rates = [(y, p["rate"]) for y, prompt in enumerate(prompts) if (p := _baseline(arms, prompt))]
            y = [at + (i - (len(models) - 1) / 2) * height for at, _ in rates]
            share = [rate["share"] for _, rate in rates]
            axis.barh(y, share, height * 0.9, color=_colour(i), alpha=0.65, label=_model(arms))
            axis.errorbar(share, y, xerr=_errors([rate for _, rate in rates]), fmt="none", color=NEUTRAL, linewidth=1)
        axis.set(yticks=range(len(prompts)), yticklabels=[titles[prompt] for prompt in prompts], xlim=(0, 1.02))
        axis.set_xlabel(f"share of unsteered answers in {models[0].concept} language")
        axis.invert_yaxis()
        _legend(sheet)
    return Figure(
        "figure-7",
        "Unsteered answers by prompt, with 95 % intervals (the paper's Figure 7). At 100 % nothing can be raised, and "
        "the paper's rule gives the share of negative strengths whatever the model does; at 0 nothing can be lowered.",
        sheet.svg,
    )


def by_scenario(found: Sequence[Arms]) -> Figure | None:
    """Figure 8: does a prompt resist? Success by both rules, with what had no room marked."""
    shown = [arms for arms in found if arms.series("vector")][:_MODELS]
    if not shown:
        return None
    prompts = max(len(arms.titles) for arms in shown)
    with _panels("figure-8", len(shown), 0.9 + 0.3 * prompts) as sheet:
        for axis, arms in zip(sheet.axes, shown, strict=False):
            own = arms.series("vector") or {}
            titles = list(arms.titles.values())
            for y, prompt in enumerate(arms.titles):
                if each := resistance(own, prompt):
                    axis.plot(each.paper, y, "o", ms=9, mfc="none", color=NEGATIVE, label="paper's rule")
                    if each.own:
                        rate = each.own
                        error = [[rate.share - rate.interval[0]], [rate.interval[1] - rate.share]]
                        axis.errorbar(rate.share, y, xerr=error, fmt="o", color=COLOURS[0], label="strict, with room")
                    base = _baseline(arms, prompt)
                    if base and base["rate"]["share"] in (0, 1):
                        titles[y] += f"\nbaseline {base['rate']['share']:.0%}"
            axis.axvline(0.5, color=NEUTRAL, linewidth=0.6)
            axis.set(yticks=range(len(titles)), yticklabels=titles, xlim=(-0.03, 1.03), ylim=(len(titles) - 0.5, -0.5))
            axis.set(title=arms.titled, xlabel="success")
        _finish(sheet, len(shown))
    return Figure(
        "figure-8",
        "Success by prompt, over layers (the paper's Figure 8): by the paper's rule, and strictly, among the cells "
        "where the unsteered share left room to move, with 95 % intervals. A baseline of 100 % scores exactly "
        "the share of negative strengths by the paper's rule, whatever the model does: that is no resistance.",
        sheet.svg,
        wide=len(shown) > 1,
    )


def by_layer(found: Sequence[Arms]) -> Figure | None:
    """Figure 9 and the detection-steering gap: AUROC and success by layer on one axis."""
    shown = [arms for arms in found if arms.series("vector")][:_MODELS]
    if not shown:
        return None
    with _panels("figure-9", len(shown), 2.6) as sheet:
        for axis, arms in zip(sheet.axes, shown, strict=False):
            layers = (arms.series("vector") or {})["layers"]
            read = [each for each in layers if each["auroc"] is not None]
            strict = [each["success"]["strict"] for each in layers]
            x = [each["layer"] for each in layers]
            if read:
                y = [each["auroc"] for each in read]
                axis.plot([each["layer"] for each in read], y, "s-", ms=4, color=COLOURS[2], label="AUROC")
            paper = [each["success"]["paper"]["share"] for each in layers]
            axis.plot(x, paper, "o:", ms=4, mfc="none", color=NEGATIVE, label="success, paper's rule")
            share = [each["share"] for each in strict]
            axis.errorbar(x, share, yerr=_errors(strict), fmt="o-", ms=4, color=COLOURS[0], label="success, strict")
            axis.axhline(0.5, color=NEUTRAL, linewidth=0.6)
            axis.set(title=arms.titled, xlabel="layer", xticks=_spread(x, 8), ylim=(-0.03, 1.05))
        _finish(sheet, len(shown))
    return Figure(
        "figure-9",
        "Reading and steering by layer: AUROC on pairs held out, and steering success over prompts and strengths, with "
        "95 % intervals (the paper's Figure 9 and its detection-steering gap). The layer that reads best need not be "
        "the one that steers best.",
        sheet.svg,
        wide=len(shown) > 1,
    )


def _curve(axis: Axes, curve: Result, colour: str, what: str, split: bool) -> None:
    """One line, with its intervals unless they would lie on those of the same prompt with its pressure."""
    points = curve["points"]
    x, rates = [point["dose"] for point in points], [point["rate"] for point in points]
    label = f"{what}{'' if curve['pressure'] else ', no pressure'}"
    if what == "vector" and (curve["pressure"] or not split):
        y = [rate["share"] for rate in rates]
        axis.errorbar(x, y, yerr=_errors(rates), fmt="none", color=colour, linewidth=0.8)
    elif curve["pressure"] or not split:
        band(axis, x, [(rate["low"], rate["high"]) for rate in rates], colour)
    _line(axis, x, points, colour, label=label, linestyle=_STYLES[curve["pressure"]], marker="o")


def _pooled_curve(axis: Axes, arms: Arms, prompt: Prompt, number: int) -> None:
    for arm, colour in (("random", NEUTRAL), ("vector", _colour(number))):
        doses: dict[float, list[At]] = {}
        for curve in (arms.series(arm) or {"curves": ()})["curves"]:
            if (curve["scenario"], curve["pressure"]) == prompt:
                for point in curve["points"]:
                    doses.setdefault(round(point["dose"], 6), []).append(((str(curve["layer"]), True), point))
        if not doses:
            continue
        x = sorted(doses)
        rates = {what: [pooled(doses[dose], what) for dose in x] for what in ("rate", "degenerate")}
        points = [
            {"rate": {"share": rate.share}, "degenerate": {"share": broken.share}}
            for rate, broken in zip(rates["rate"], rates["degenerate"], strict=True)
        ]
        label = arms.titled if arm == "vector" else "random directions"
        if arm == "vector":
            band(axis, x, [rate.interval for rate in rates["rate"]], colour)
        style = {"marker": MARKERS[number % len(MARKERS)]} if arm == "vector" else {"alpha": 0.5}
        _line(axis, x, points, colour, label=label, **style)


def _line(axis: Axes, x: list[float], points: Sequence[Result], colour: str, **style: Any) -> None:
    """A line through rates, with crosses where at least half of the answers are degenerate."""
    y = [point["rate"]["share"] for point in points]
    axis.plot(x, y, color=colour, markersize=3, linewidth=1.3, **style)
    broken = [i for i, point in enumerate(points) if point["degenerate"]["share"] >= 0.5]
    if broken:
        axis.plot([x[i] for i in broken], [y[i] for i in broken], "x", color=NEGATIVE, ms=7, label="degenerate")


def _alphas(own: Result, layers: Sequence[int]) -> str:
    """What a dose is in raw alphas, which differs by layer."""
    found = []
    for layer in layers:
        points = (point for curve in own["curves"] if curve["layer"] == layer for point in curve["points"])
        one = next((point for point in points if point["dose"]), None)
        if one:
            found.append(f"{one['alpha'] / one['dose']:.3g} at layer {layer}")
    return f"Alpha is the dose times {', '.join(found)}."


def _panels(name: str, number: int, height: float) -> Any:
    """A drawing with a panel for each model."""
    columns = min(3, number)
    rows = -(-number // columns)
    width = {1: 6.4, 2: 8.0}.get(columns, 10.0)
    return drawing(name, columns, rows, width=width, height=0.5 + height * rows)


def _finish(sheet: Sheet, used: int) -> None:
    for axis in sheet.axes[used:]:
        axis.set_axis_off()
    _legend(sheet)


def _legend(sheet: Sheet) -> None:
    """One for all panels, under them."""
    handles: dict[str, Any] = {}
    for axis in sheet.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        sheet.axes[0].figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(3, len(handles))
        )


def _spread(values: Sequence[int], most: int) -> list[int]:
    """At most so many values, the first and the last among them, evenly between."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _errors(rates: Sequence[Result]) -> list[list[float]]:
    return [[rate["share"] - rate["low"] for rate in rates], [rate["high"] - rate["share"] for rate in rates]]


def _having(models: Sequence[Arms], prompt: Prompt) -> list[Arms]:
    return [arms for arms in models if prompt in arms.titles]


def _baseline(arms: Arms, prompt: Prompt) -> Result | None:
    return arms.baseline(prompt) if prompt in arms.titles else None


def _model(arms: Arms) -> str:
    return f"{arms.model['model']} ({arms.label})" if arms.label else str(arms.model["model"])


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]
