"""The findings of an audit as sentences: success by the paper's rule and by the strict one, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localprobe.experiments.audit import AuditedCurve, AuditedModel
from localprobe.experiments.dose_response import DoseResponse
from localprobe.experiments.success import Success


def sentences(model: AuditedModel) -> list[str]:
    """The findings about one model, the most important first."""
    return [
        *on_success(model.success),
        *_without_room(model),
        *_words(model),
        *_degeneration(model),
        *_dose_response(model.response),
        *_asymmetry(model.response),
        *_baselines(model.curves),
    ]


def on_success(success: Success) -> Iterator[str]:
    """Success by the paper's rule and by the strict one, and why they differ."""
    if success.paper.share == success.strict.share:
        yield f"The paper's rule and the strict one agree: {success.paper} of {success.cells} cells are a success."
    else:
        yield (
            f"The paper's rule counts {success.paper} of {success.cells} cells a success; strictly, with an effect "
            f"that has the sign of the strength, it is {success.strict}."
        )
    if nulls := success.null_effects:
        yield (
            f"{nulls} of the paper's {success.paper.count} successes "
            f"{'is a null effect' if nulls == 1 else 'are null effects'}: a negative strength that changed nothing. "
            "The rule asks whether (alpha > 0) equals (effect > 0), and no effect is not greater than 0."
        )
    if broken := success.broken:
        yield (
            f"{broken} of the {success.strict.count} strict successes {_are(broken)} at strengths where half of the "
            "answers or more are incoherent or degenerate."
        )


def _without_room(model: AuditedModel) -> Iterator[str]:
    """Curves that start at an end of the scale, where one direction can have no effect."""
    if full := [curve for curve in model.curves if curve.baseline == 1]:
        by_rule = sum(curve.success.paper.count for curve in full) / sum(curve.success.cells for curve in full)
        yield (
            f"{_named(full)}: every unsteered answer has the language already, so the paper's rule gives "
            f"{by_rule:.0%}, the share of negative alphas, whatever the model does."
        )
    if none := [curve for curve in model.curves if curve.baseline == 0]:
        yield f"{_named(none)}: no unsteered answer has the language, so no negative alpha can lower it."
    if not any(condition.rate.share for condition in model.conditions):
        yield "No answer at all has more of the positive words than of the negative: are these the right word lists?"


def _words(model: AuditedModel) -> Iterator[str]:
    if model.inside_words:
        yield (
            f"{model.inside_words} of {model.samples} answers would be judged differently if the lists' words "
            "had to begin a word: the paper's rule finds them inside others too, as win in knowing and care in scared."
        )


def _degeneration(model: AuditedModel) -> Iterator[str]:
    if not model.degenerate:
        yield f"None of {model.samples} answers is degenerate."
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in model.reasons.items())
    yield (
        f"{model.degenerate} of {model.samples} answers {_are(model.degenerate)} degenerate; the paper's rule "
        f"calls {model.fooled} of them coherent. What is wrong with them, often several things at once: {reasons}."
    )


def _dose_response(response: DoseResponse) -> Iterator[str]:
    (low, high), rho = response.slope.interval, response.monotonicity
    yield (
        f"For one unit of alpha the rate changes by {response.slope.value:+.3f} [{low:+.3f}, {high:+.3f}]; Spearman's "
        f"correlation of the two is {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]."
    )
    if wrong := response.wrong_way.count:
        yield f"{wrong} of {response.wrong_way.of} curves {'goes' if wrong == 1 else 'go'} the wrong way."
    if response.usable is None:
        yield "Half of the unsteered answers or more are incoherent or degenerate, so no strength is usable."
    else:
        low, high = response.usable
        yield f"Most answers stay coherent and free of degeneration from alpha {low:g} to {high:g}."


def _asymmetry(response: DoseResponse) -> Iterator[str]:
    if response.up is None or response.down is None or response.asymmetry is None:
        yield "No strength occurs with both signs, so raising and lowering cannot be compared."
        return
    low, high = response.asymmetry.interval
    which = "works better than lowering" if low > 0 else "works worse than lowering" if high < 0 else ""
    ends = f"{response.up.value:+.2f} by positive alphas, {0.0 - response.down.value:+.2f} by negative ones"
    yield (
        f"Raising the rate {which}: {ends}."
        if which
        else f"Neither direction clearly works better: the rate changes by {ends}."
    )


def _baselines(curves: Sequence[AuditedCurve]) -> Iterator[str]:
    if borrowing := [curve for curve in curves if curve.borrowed]:
        own = sorted({str(layer) for curve in borrowing for layer in curve.borrowed if layer is not None}, key=int)
        where = f"those of {_layers(own)}" if own else "those that name no layer"
        at = _layers(sorted({str(curve.layer) for curve in borrowing}, key=int))
        yield f"There are no unsteered answers at {at}: the baseline is {where}."


def _named(curves: Sequence[AuditedCurve]) -> str:
    """`The Listener (layers 12, 16), The Duel (layer 12)`."""
    where: dict[str, list[str]] = {}
    for curve in curves:
        where.setdefault(curve.scenario, []).append(str(curve.layer))
    return ", ".join(f"{scenario} ({_layers(layers)})" for scenario, layers in where.items())


def _layers(numbers: Sequence[str]) -> str:
    return f"layer{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
