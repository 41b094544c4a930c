"""A verdict on a vector in a model: whether it steers, at what cost, by which rule, and what a system prompt does as
well.

Each rule is one function or one line with a named limit, so that it can be checked and disputed. Nothing is said to
differ unless the 95 % interval of the difference excludes 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from localprobe.experiments.pooling import pooled
from localprobe.experiments.result import PromptKey, Series
from localprobe.report.steering_ablation import on_ablation
from localprobe.report.steering_arms import BASELINE, DOWN, UP, Arms, End
from localprobe.report.steering_resistance import resistance
from localprobe.report.steering_rules import cost, rules
from localprobe.report.steering_sceptic import beyond_prompts
from localprobe.report.steering_words import above, below, goes, points, signed, span
from localprobe.stats.estimates import Estimate

FEW = 5
"""Answers per condition: with fewer, hardly any difference can be shown."""
WIDE = 0.5
"""An interval of a condition's rate wider than this says little of that condition."""
NEAR_AN_END = 0.2
"""An unsteered share this near to 0 or 1 leaves little room in one direction."""
RANDOM_UP: End = ("random", 1)
RANDOM_DOWN: End = ("random", -1)


@dataclass(frozen=True, slots=True)
class SteeringVerdict:
    """Short sentences under their headings, most important first."""

    headline: str
    shows: tuple[str, ...] = ()
    does_not_show: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """Success by the paper's rule and by the strict one, and why they differ."""
    prompts: tuple[str, ...] = ()
    """The sceptic's question: what the vector does that a prompt does not."""
    ablation: tuple[str, ...] = ()
    """What ablating the direction does, and whether ablating random directions does the same."""

    @property
    def lists(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The sentences under their headings."""
        return (
            ("It shows", self.shows),
            ("It does not show", self.does_not_show),
            ("At what cost", self.cost),
            ("By the paper's rule, and strictly", self.rules),
            ("What does it do that a system prompt does not?", self.prompts),
            *([("What does ablating it do?", self.ablation)] if self.ablation else []),
        )


def steering_verdict(arms: Arms) -> SteeringVerdict:
    """The verdict on a vector in a model."""
    own, ablation = arms.series("vector"), on_ablation(arms.model, arms.vector, arms.concept)
    if own is None:
        headline = "Nothing to judge yet: no answer was steered with this vector alone."
        prompts = () if ablation and not arms.all_series else beyond_prompts(arms)
        return SteeringVerdict(ablation[0] if ablation else headline, prompts=prompts, ablation=ablation)
    return SteeringVerdict(
        _headline(arms, own),
        tuple(_shows(arms, own)),
        tuple(_does_not_show(arms, own)),
        tuple(cost(arms, own)),
        tuple(rules(arms, own)),
        beyond_prompts(arms),
        ablation,
    )


def change(arms: Arms, prompts: tuple[PromptKey, ...] = ()) -> Estimate | None:
    """Difference of the rate between the ends of the usable range."""
    return arms.difference((1, UP), (-1, DOWN), prompts=prompts)


def beyond_random(arms: Arms) -> Estimate | None:
    """By how much that exceeds random directions of the same dose; None if those were not run."""
    if arms.series("random") is None:
        return None
    return arms.difference((1, UP), (-1, DOWN), (-1, RANDOM_UP), (1, RANDOM_DOWN))


def _headline(arms: Arms, own: Series) -> str:
    if own.response.usable is None:
        if not (plain := arms.points(BASELINE)):
            return "Nothing to judge yet: the unsteered answers are not yet generated."
        return (
            "Cannot be judged: half of the unsteered answers or more are incoherent or degenerate already "
            f"({pooled(plain, 'coherent').share:.0%} coherent, {pooled(plain, 'degenerate').share:.0%} degenerate), so "
            "no strength is usable."
        )
    if not arms.usable(1) and not arms.usable(-1):
        return "It only breaks the model: at every strength half of the answers or more are incoherent or degenerate."
    moved = change(arms)
    if moved is None:
        return "Nothing to judge yet: the answers at both ends of the usable range are not yet generated."
    return _change(arms, moved, beyond_random(arms))


def _change(arms: Arms, moved: Estimate, further: Estimate | None) -> str:
    where = f"within the usable range{', on prompts with their pressure,' if arms.split else ''}"
    moves = f"the share of answers in {arms.concept} language {goes(arms.rate(DOWN), arms.rate(UP))} ({points(moved)})"
    if below(moved):
        return f"It steers the wrong way: {where} {moves}."
    if not above(moved):
        return f"Not shown: {where} {moves}, which is not distinguishable from chance."
    if further is None:
        return f"It steers, but no random direction was tried: {where} {moves}."
    if not above(further):
        return f"Perhaps no more than a random direction does: {where} {moves}."
    return f"It steers: {where} {moves}, further than with random directions of the same dose."


def _shows(arms: Arms, own: Series) -> Iterator[str]:
    moved, further, slope = change(arms), beyond_random(arms), own.response.slope
    if own.response.usable and moved is not None:
        yield f"Usable range, where more than half of the answers at every strength stay whole: {_reach(arms)}."
    for way, words in ((1, f"towards {arms.concept}"), (-1, f"away from {arms.concept}")):
        effect = arms.difference((way, ("vector", way)), (-way, BASELINE))
        if above(effect):
            yield (
                f"It works {words}: the unsteered share {goes(arms.rate(BASELINE), arms.rate(('vector', way)))} at "
                "the end of the usable range."
            )
    if above(further) and further:
        yield f"It goes {signed(further)} points further than random directions do ({span(further)})."
    if above(slope) or below(slope):
        yield (
            f"Over all strengths the share {'rises' if above(slope) else 'falls'} with the {arms.model.unit}: by "
            f"{slope.value:+.2f} per unit ({slope.low:+.2f} to {slope.high:+.2f})."
        )
    reading = arms.reading()
    if reading and reading.low is not None and reading.low > 0:
        yield (
            f"The texts themselves change, by the probe's own reading with nothing added: its score goes up by "
            f"{reading.value:.2f} ({reading.low:.2f} to {reading.high:.2f} over {reading.of} prompts) from one end of "
            "the usable range to the other."
        )
    yield from _asymmetry(arms, own)
    yield from _pressure(arms)
    for prompt in arms.titles:
        resisting = resistance(own, prompt)
        if resisting and resisting.resists:
            yield (
                f"{arms.titles[prompt]!r} resists: where there was room, {resisting.own} of its strengths moved "
                f"the share the right way, against {resisting.others} for the other prompts."
            )


def _does_not_show(arms: Arms, own: Series) -> Iterator[str]:
    moved, further = change(arms), beyond_random(arms)
    if arms.series("random") is None:
        yield "That it does more than a random direction: the arm `random` was not run."
    if arms.usable(1) or arms.usable(-1):
        yield from _not_moved(arms, moved, further)
    if wrong := own.response.wrong_way.count:
        total = own.response.wrong_way.of
        yield f"That every prompt follows: {wrong} of {total} (a prompt at a layer) go the wrong way."
    yield from _gap(own)
    yield from _samples(arms, own)
    done, expected = arms.model.done, arms.model.expected
    if done < expected:
        yield f"What {expected - done:,} of {expected:,} answers would show, which are not yet generated."


def _not_moved(arms: Arms, moved: Estimate | None, further: Estimate | None) -> Iterator[str]:
    if moved is not None and not above(moved):
        yield f"That it steers where answers stay usable: the share changes by {points(moved)}."
    if further is not None and not above(further):
        yield f"That it does more than a random direction of the same dose: the lead is {points(further)}."
    for way, words in ((1, f"towards {arms.concept}"), (-1, f"away from {arms.concept}")):
        effect = arms.difference((way, ("vector", way)), (-way, BASELINE))
        if not arms.usable(way):
            yield f"That it works {words}: no strength that way leaves answers usable."
        elif effect is not None and above(moved) and not above(effect):
            yield f"That it works {words} from the unsteered answers: the change is {points(effect, way)}."


def _samples(arms: Arms, own: Series) -> Iterator[str]:
    conditions = [point for curve in own.curves for point in curve.points]
    least = min(point.samples for point in conditions)
    if least < FEW:
        yield f"Much about single conditions: too few samples, down to {least} answer{'s' * (least > 1)} per condition."
    else:
        widest = max((point.rate for point in conditions), key=lambda rate: rate.high - rate.low)
        if widest.high - widest.low > WIDE:
            yield (
                f"Much about single conditions: few samples, {widest.of} answers, so a rate of {widest.share:.0%} "
                f"may be anything from {widest.low:.0%} to {widest.high:.0%}."
            )
    if len({curve.scenario for curve in own.curves}) == 1:
        yield "Anything about other prompts: all answers are to one."


def _asymmetry(arms: Arms, own: Series) -> Iterator[str]:
    up, down, asymmetry = own.response.up, own.response.down, own.response.asymmetry
    if up and down and (above(asymmetry) or below(asymmetry)):
        which = "adding works better than taking away" if above(asymmetry) else "taking away works better than adding"
        ends = f"{signed(up)} points by positive strengths, {signed(down, -1)} by negative ones"
        yield f"Asymmetry: {which} ({ends}{_room(arms)})."
    strengths = [arms.model.strength(point) for curve in own.curves for point in curve.points]
    low, high = own.response.usable or (0.0, 0.0)
    if -low < high and min(strengths) < low:
        yield f"Asymmetry: answers break sooner downwards (usable to {low:+g}) than upwards (to {high:+g})."
    elif high < -low and max(strengths) > high:
        yield f"Asymmetry: answers break sooner upwards (usable to {high:+g}) than downwards (to {low:+g})."


def _room(arms: Arms) -> str:
    unsteered = arms.rate(BASELINE)
    if unsteered is None or NEAR_AN_END < unsteered.share < 1 - NEAR_AN_END:
        return ""
    return (
        f"; the unsteered {unsteered.share:.0%} leaves little room to {'lower' if unsteered.share < 0.5 else 'raise'}"
    )


def _pressure(arms: Arms) -> Iterator[str]:
    """The change with and without the scenarios' pressure."""
    without = {scenario for scenario, pressure in arms.titles if not pressure}
    both = [scenario for scenario, pressure in arms.titles if pressure and scenario in without]
    ways = {words: change(arms, tuple((s, p) for s in both)) for p, words in ((True, "with"), (False, "without"))}
    if both and all(ways.values()):
        changes = ", ".join(f"{words} it {points(moved)}" for words, moved in ways.items() if moved)
        yield f"The scenarios' pressure is a condition of its own. Change over the usable range: {changes}."


def _gap(own: Series) -> Iterator[str]:
    """Whether the layer with the best AUROC is the one that steers best."""
    aurocs = {at.layer: at.auroc for at in own.layers if at.auroc is not None}
    strict = {at.layer: at.success.strict for at in own.layers if at.layer in aurocs}
    if len(aurocs) < 2:
        return
    reads = max(aurocs, key=lambda layer: aurocs[layer])
    steers = max(aurocs, key=lambda layer: strict[layer].share)
    if strict[reads].share < strict[steers].share:
        chance = ", though that is not distinguishable from chance" if strict[reads].high >= strict[steers].low else ""
        yield (
            f"That the layer to read is the layer to steer: layer {reads} reads best (AUROC {aurocs[reads]:.2f}; "
            f"strict success {strict[reads]}), layer {steers} steers best ({strict[steers]}; AUROC "
            f"{aurocs[steers]:.2f}){chance}."
        )


def _reach(arms: Arms) -> str:
    """`dose -0.2 to +0.2 at layers 12, 13; ...`: layers with the same range together."""
    ranges: dict[tuple[float, float], list[int]] = {}
    for layer, ends in arms.ends.items():
        ranges.setdefault(ends, []).append(layer)
    if len(ranges) == 1:
        (low, high) = next(iter(ranges))
        return f"{arms.model.unit} {low:+g} to {high:+g}"
    return "; ".join(
        f"{arms.model.unit} {low:+g} to {high:+g} at layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"
        for (low, high), layers in ranges.items()
    )
