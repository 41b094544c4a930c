"""What ablating a direction does, and what steering expressions do, as sentences: the change from the unsteered
answers, with an interval, and whether ablating random directions does the same.

An ablation has no sign, so the rules of success for signed strengths do not apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localprobe.experiments.ablation import AblationSeries
from localprobe.experiments.expression_result import ExpressionResult
from localprobe.experiments.pooling import pooled
from localprobe.experiments.result import ModelResult
from localprobe.report.steering_words import above, below, goes, points
from localprobe.stats.estimates import Estimate, Mean


def on_ablation(model: ModelResult, vector: str, concept: str) -> tuple[str, ...]:
    """The findings about one vector in one model, the most important first; none if it was not ablated."""
    series = {each.arm: each for each in model.ablations if each.vector == vector}
    if "ablate" not in series:
        return ()
    return tuple(_sentences(series["ablate"], series.get("random-ablate"), concept))


def _sentences(own: AblationSeries, random: AblationSeries | None, concept: str) -> Iterator[str]:
    response = own.response
    what = "the direction" if response.share == 1 else f"{response.share:.0%} of the direction"
    yield f"Ablating {what} at every layer {_changes(response.change, concept, _ends(own))}."
    yield _beside(own, random)
    if response.reading is not None:
        yield _reading(response.reading)
    yield from _usable(own)
    if len({point.share for curve in own.curves for point in curve.points}) > _TWO:
        slope, rho = response.slope, response.monotonicity
        yield (
            f"On a straight line through all shares, from nothing to all of it, the share of answers changes by "
            f"{points(slope)}; Spearman's correlation is {rho.value:+.2f} ({rho.low:+.2f} to {rho.high:+.2f})."
        )


_TWO = 2
"""Shares, with 0, between which there is a change and no curve."""


def _ends(own: AblationSeries) -> str:
    first, last = (pooled([(curve.key, curve.points[at]) for curve in own.curves], "rate") for at in (0, -1))
    return goes(first, last)


def _changes(change: Estimate, concept: str, ends: str) -> str:
    share = f"the share of answers in {concept} language"
    if above(change) or below(change):
        return f"{'raises' if above(change) else 'lowers'} {share}: it {ends} ({points(change)})"
    return f"is not shown to change {share}: it {ends} ({points(change)})"


def _beside(own: AblationSeries, random: AblationSeries | None) -> str:
    """Whether ablating the direction does more than ablating random ones."""
    beyond = own.beyond_random
    if random is None or beyond is None:
        return (
            "That it does more than ablating any other direction is not shown: no random direction was ablated beside "
            "it (the arm `random-ablate`)."
        )
    beside = f"random directions, ablated in the same way, change the share by {points(random.response.change)}"
    if not above(beyond) and not below(beyond):
        return (
            f"No difference is shown between ablating it and ablating random directions ({points(beyond)}): {beside}."
        )
    if abs(own.response.change.value) > abs(random.response.change.value):
        return f"It changes the answers more than ablating random directions does ({points(beyond)} apart): {beside}."
    return f"Ablating random directions changes the answers more than ablating it ({points(beyond)} apart): {beside}."


def _reading(reading: Mean) -> str:
    change = f"the probe's reading of the texts, with nothing ablated, changes by {reading.value:+.2f}"
    if reading.low is None or reading.high is None:
        return f"Whether the texts read otherwise is not known: {change}, of too few texts for an interval."
    interval = f"({reading.low:+.2f} to {reading.high:+.2f})"
    if reading.low > 0 or reading.high < 0:
        return f"The texts read otherwise: {change} {interval}."
    return f"That the texts read otherwise is not shown: {change} {interval}."


def _usable(own: AblationSeries) -> Iterator[str]:
    usable, share = own.response.usable, own.response.share
    if usable is None:
        yield "Half of the unsteered answers or more are incoherent or degenerate already, so this says little."
    elif usable < share:
        rest = f"they stay usable up to a share of {usable:g}" if usable else "no share that was run leaves them usable"
        yield (
            f"At a share of {share:g} half of the answers or more are incoherent or degenerate, so what changes there "
            f"may be that the model breaks: {rest}."
        )


def on_expression(expressed: ExpressionResult, concept: str) -> str:
    """What an expression does, in one sentence."""
    first, last = (
        pooled([(point.key, getattr(point, name)) for point in expressed.points], "rate")
        for name in ("unsteered", "steered")
    )
    whole = pooled([(point.key, point.steered) for point in expressed.points], "degenerate")
    broken = f"; {whole.share:.0%} of the answers are degenerate" if whole.count else ""
    return f"`{expressed.expression}` {_changes(expressed.change, concept, goes(first, last))}{broken}."


def expressions_headline(expressed: Sequence[ExpressionResult]) -> str:
    """How many expressions are shown to change the answers."""
    moved = sum(above(each.change) or below(each.change) for each in expressed)
    of = f"{len(expressed)} expression{'s' * (len(expressed) > 1)}"
    return f"{moved or 'None'} of {of} {'is' if moved in (0, 1) else 'are'} shown to change the share of answers."
