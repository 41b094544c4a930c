"""What an audit shows, in plain words: the paper's figure, the strict one, and what lies between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localprobe.experiments.audit import Group
from localprobe.experiments.curves import Curve
from localprobe.experiments.dose_response import DoseResponse
from localprobe.experiments.success import Success
from localprobe.stats.rates import Rate


def sentences(found: Group) -> list[str]:
    """What the generations of one model show, the most important first."""
    return [
        *_success(found.success),
        *_without_room(found.curves),
        *_words(found),
        *_degeneration(found),
        *_dose_response(found.dose_response),
        *_asymmetry(found),
        *_baselines(found.curves),
    ]


def percent(found: Rate) -> str:
    """`65.3% [54, 75]`."""
    return f"{found.share:.1%} [{100 * found.interval[0]:.0f}, {100 * found.interval[1]:.0f}]"


def _success(found: Success) -> Iterator[str]:
    yield f"The paper's rule counts {percent(found.paper)} of {found.cells} cells a success."
    yield f"Strictly, with an effect that has the sign of alpha, it is {percent(found.strict)}."
    if found.null_effects:
        yield (
            f"{found.null_effects} of the paper's {found.paper.count} successes {_are(found.null_effects)} null "
            "effects: a negative alpha that changed nothing, which its rule counts."
        )
    if found.broken:
        yield (
            f"{found.broken} of {found.strict.count} strict successes {_are(found.broken)} at strengths where half of "
            "the answers or more are incoherent or degenerate."
        )


def _without_room(found: Sequence[Curve]) -> Iterator[str]:
    """Curves that start at an end of the scale, where one way can have no effect."""
    full = [curve for curve in found if curve.baseline.rate == 1]
    if full:
        cells = [cell for curve in full for cell in curve.cells]
        by_rule = sum(cell.success for cell in cells) / len(cells)
        yield (
            f"{_named(full)}: every unsteered answer has the language already, so the paper's rule gives "
            f"{by_rule:.0%}, the share of negative alphas, whatever the model does."
        )
    if none := [curve for curve in found if curve.baseline.rate == 0]:
        yield f"{_named(none)}: no unsteered answer has the language, so no negative alpha can lower it."
    if all(each.expressing == 0 for curve in found for each in curve.conditions):
        yield "No answer at all has more of the positive words than of the negative: are these the right word lists?"


def _words(found: Group) -> Iterator[str]:
    if found.inside_words:
        yield (
            f"{found.inside_words} of {len(found.outcomes)} answers would be judged otherwise if the lists' words "
            "had to begin a word: the paper's rule finds them inside others too, as win in knowing and care in scared."
        )


def _degeneration(found: Group) -> Iterator[str]:
    if not found.degenerate:
        yield f"None of {len(found.outcomes)} answers is degenerate."
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.reasons.items())
    yield (
        f"{found.degenerate} of {len(found.outcomes)} answers {_are(found.degenerate)} degenerate; the paper's rule "
        f"calls {found.fooled} of them coherent. What is wrong with them, often several things at once: {reasons}."
    )


def _dose_response(found: DoseResponse) -> Iterator[str]:
    (low, high), rho = found.slope.interval, found.monotonicity
    yield (
        f"For one unit of alpha the rate changes by {found.slope.value:+.3f} [{low:+.3f}, {high:+.3f}]; Spearman's "
        f"correlation of the two is {rho.value:.2f} [{rho.interval[0]:.2f}, {rho.interval[1]:.2f}]."
    )
    if wrong := found.wrong_way.count:
        yield f"{wrong} of {found.wrong_way.of} curves {'goes' if wrong == 1 else 'go'} the wrong way."
    if found.usable is None:
        yield "Half of the unsteered answers or more are incoherent or degenerate, so no strength is usable."
    else:
        low, high = found.usable
        yield f"Most answers stay coherent and free of degeneration from alpha {low:g} to {high:g}."


def _asymmetry(found: Group) -> Iterator[str]:
    ways = found.dose_response.two_ways
    if ways is None:
        yield "No strength is there both ways, so the two cannot be set against each other."
        return
    (low, high), up, down = ways.asymmetry.interval, ways.up.value, ways.down.value
    which = "works better than lowering" if low > 0 else "works worse than lowering" if high < 0 else ""
    ends = f"{up:+.2f} by positive alphas, {0.0 - down:+.2f} by negative ones"
    yield f"Raising the rate {which}: {ends}." if which else f"No way clearly works better: the rate changes by {ends}."


def _baselines(found: Sequence[Curve]) -> Iterator[str]:
    if borrowing := [curve for curve in found if curve.borrowed]:
        own = sorted({str(layer) for curve in borrowing for layer in curve.borrowed if layer is not None}, key=int)
        where = f"those of {_layers(own)}" if own else "those that name no layer"
        at = _layers(sorted({str(curve.layer) for curve in borrowing}, key=int))
        yield f"There are no unsteered answers at {at}: the baseline is {where}."


def _named(found: Sequence[Curve]) -> str:
    """`The Listener (layers 12, 16), The Duel (layer 12)`."""
    where: dict[str, list[str]] = {}
    for curve in found:
        where.setdefault(curve.scenario, []).append(str(curve.layer))
    return ", ".join(f"{scenario} ({_layers(layers)})" for scenario, layers in where.items())


def _layers(numbers: Sequence[str]) -> str:
    return f"layer{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
