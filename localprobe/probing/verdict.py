"""A verdict in plain words from the numbers of a validation: what the probe shows, and what it does not.

Each rule is one function or one line with its limit beside it, so that it can be argued with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localprobe.probing.baselines import Baseline

if TYPE_CHECKING:
    from localprobe.probing.leave_out import LeaveOut
    from localprobe.probing.validation import Validation
    from localprobe.stats.intervals import Interval

SIGNIFICANT = 0.05
NEARLY = 0.05
"""An AUROC this far below the probe's, or closer, is nearly the same."""
FLATTERED = 0.02
"""The best layer on the test texts may be this much better than the one chosen without them."""
WIDE = 0.15
"""An interval of an AUROC wider than this leaves much open."""
HOLDS = 0.7
"""A scenario left out whose AUROC is under this is not read."""
STABLE = 0.8
"""Cosine of the directions of two halves of the pairs."""
ONE_POLE = 0.25
"""Neutral texts whose mean lies this near to a pole, or beyond it, belong to that pole."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Short sentences, most important first."""

    headline: str
    shows: tuple[str, ...]
    does_not_show: tuple[str, ...]


def judge(found: Validation) -> Verdict:
    """The verdict on a validation."""
    return Verdict(_headline(found), tuple(_shows(found)), tuple(_does_not_show(found)))


def above_chance(found: Validation) -> bool:
    """Whether the probe tells unseen pairs apart: its interval lies above 0.5, and the permutation test agrees."""
    return found.nested.intervals.auroc[0] > 0.5 and found.permutation.p <= SIGNIFICANT


def nearly(found: Validation, other: Baseline) -> bool:
    """Whether a baseline reaches nearly what the probe does, and more than chance."""
    return other.auroc >= found.nested.measures.auroc - NEARLY and other.interval[0] > 0.5


def lexical_by(found: Validation) -> str | None:
    """Why the probe is lexical: one word does what it does, or it fails without its keywords. None if it is not."""
    word, ablation = found.baselines.best_word, found.lexical
    if nearly(found, word):
        return f"one word alone, {word.word!r}, tells the poles apart {_as_well(found, word)}"
    if ablation and ablation.reading == "weak":
        return (
            f"with its keywords replaced by synonyms its AUROC falls from {ablation.before.auroc:.2f} to "
            f"{ablation.after.auroc:.2f}"
        )
    return None


def fails_on(found: Validation) -> list[str]:
    """Scenarios and generators that a probe fitted without them does not read."""
    return [
        f"the {by} {group.name!r}: fitted without it, AUROC {_figure(group.at_layer.auroc, group.at_layer.interval)} "
        f"on its {group.pairs} pairs"
        for by, left in found.leave_one_out.items()
        for group in left.groups
        if group.at_layer.auroc < HOLDS
    ]


def _headline(found: Validation) -> str:
    reached = f"AUROC {_figure(found.nested.measures.auroc, found.nested.intervals.auroc)}"
    if not above_chance(found):
        return f"Not shown: on {found.test_pairs} unseen pairs the probe does no better than chance may ({reached})."
    if why := lexical_by(found):
        return f"Lexical: {why}. The probe may read nothing else."
    for length in (found.baselines.length_words, found.baselines.length_characters):
        if nearly(found, length):
            return f"Length: the length of a text alone tells the poles apart {_as_well(found, length)}."
    if nearly(found, found.baselines.bag_of_words):
        return (
            f"Vocabulary: the probe tells unseen pairs apart ({reached}), but a bag of words does so "
            f"{_as_well(found, found.baselines.bag_of_words)}. The texts do not show more than vocabulary."
        )
    scenario = found.leave_one_out.get("scenario")
    if scenario and (scenario.pooled.interval[0] <= 0.5 or scenario.pooled.auroc < HOLDS):
        return (
            f"Only where it was fitted: the probe tells unseen pairs of known scenarios apart ({reached}), but not "
            f"those of a scenario left out (AUROC {_figure(scenario.pooled.auroc, scenario.pooled.interval)})."
        )
    better = "better than words do" if _leads(found.baselines.bag_of_words) else "perhaps no better than words do"
    return f"The probe tells unseen pairs apart ({reached} at layer {found.nested.layer}), and {better}."


def _shows(found: Validation) -> Iterator[str]:
    nested, words = found.nested, found.baselines.bag_of_words
    if above_chance(found):
        yield (
            f"At layer {nested.layer}, chosen without the test texts, the poles of {found.test_pairs} unseen pairs are "
            f"told apart with AUROC {_figure(nested.measures.auroc, nested.intervals.auroc)} and accuracy "
            f"{nested.measures.accuracy:.0%} ({nested.intervals.accuracy[0]:.0%} to "
            f"{nested.intervals.accuracy[1]:.0%})."
        )
        yield f"That is no chance: permutation p = {found.permutation.p:.2g} with {found.permutation.n} permutations."
    if above_chance(found) and not nearly(found, words) and _leads(words):
        yield f"It reads more than which words occur: a bag of words reaches {_figure(words.auroc, words.interval)}."
    if found.lexical and found.lexical.reading == "strong" and found.lexical.replaced >= 1 and above_chance(found):
        yield (
            f"It stands without its keywords: with {found.lexical.replaced:.1f} words a pair replaced by synonyms, "
            f"AUROC {_figure(found.lexical.after.auroc, found.lexical.after.interval)}."
        )
    for left in found.leave_one_out.values():
        if left.pooled.interval[0] > 0.5 and not _failing(left):
            yield (
                f"It carries over to a {left.by} that it was not fitted on: AUROC "
                f"{_figure(left.pooled.auroc, left.pooled.interval)} over {len(left.groups)} left out in turn."
            )
    if found.neutral and ONE_POLE < found.neutral.position < 1 - ONE_POLE:
        yield f"Neutral texts fall between the poles, at {found.neutral.position:.2f} (0 is negative, 1 positive)."


def _does_not_show(found: Validation) -> Iterator[str]:
    yield from _about_words(found)
    if not above_chance(found):
        yield f"That the poles can be told apart at all: permutation p = {found.permutation.p:.2g}."
    for failing in fails_on(found):
        yield f"That it reads {failing}."
    if not found.leave_one_out.get("scenario"):
        yield "That it carries over to another scenario: the pairs do not name at least two."
    yield from _about_choice(found)
    yield from _about_neutral(found)
    yield "That the model uses this direction: reading it is not steering with it."


def _about_words(found: Validation) -> Iterator[str]:
    bag, ablation, first = found.baselines.bag_of_words, found.lexical, found.baselines.layer_0
    if why := lexical_by(found):
        yield f"More than a word list: {why}."
    elif nearly(found, bag):
        yield f"More than vocabulary: a bag of words reaches {_figure(bag.auroc, bag.interval)} on the same texts."
    elif not _leads(bag):
        yield (
            f"That it reads more than words: its lead over a bag of words "
            f"({_figure(bag.auroc, bag.interval)}) may be chance."
        )
    for name, length in (("words", found.baselines.length_words), ("characters", found.baselines.length_characters)):
        if nearly(found, length):
            yield f"More than length: the number of {name} reaches {_figure(length.auroc, length.interval)}."
    if found.nested.layer == 0:
        yield "That depth is needed: the chosen layer is 0, which has read hardly any context."
    elif first and nearly(found, first):
        yield f"That depth is needed: layer 0, with hardly any context, reaches {_figure(first.auroc, first.interval)}."
    if ablation is None:
        yield "That it stands without its keywords: no ablation was run."
    elif ablation.replaced < 1:
        yield f"That it stands without its keywords: only {ablation.replaced:.1f} a pair were found to replace."
    elif ablation.reading == "moderate":
        yield f"That keywords do not matter: without them its AUROC falls by {ablation.drop:.2f}."


def _about_choice(found: Validation) -> Iterator[str]:
    nested, best = found.nested, found.best
    low, high = nested.intervals.auroc
    if high - low > WIDE:
        yield f"A precise figure: with {found.test_pairs} test pairs its AUROC may lie from {low:.2f} to {high:.2f}."
    if best.measures.auroc - nested.measures.auroc > FLATTERED:
        yield (
            f"The {best.measures.auroc:.2f} of layer {best.layer}: that layer was chosen on the test texts. Chosen "
            f"without them it is layer {nested.layer}, with {nested.measures.auroc:.2f}."
        )
    if nested.random.percentile < 95:
        yield (
            f"A special direction: {100 - nested.random.percentile:.0f} % of random ones do as well on these texts "
            f"(mean {nested.random.mean:.2f}, std {nested.random.std:.2f})."
        )
    halves = nested.agreement.halves
    if halves is not None and halves < STABLE:
        yield f"A settled direction: two halves of the pairs give directions with cosine {halves:.2f}. Add pairs."


def _about_neutral(found: Validation) -> Iterator[str]:
    if found.neutral is None:
        return
    at = found.neutral.position
    if at >= 1 - ONE_POLE:
        yield (
            f"The presence of the concept: neutral texts score like positive ones (at {at:.2f}, where 0 is negative "
            "and 1 positive). It may read the absence of the negative pole."
        )
    elif at <= ONE_POLE:
        yield (
            f"The presence of the negative pole: neutral texts score like negative ones (at {at:.2f}, where 0 is "
            "negative and 1 positive)."
        )


def _failing(left: LeaveOut) -> bool:
    return any(group.at_layer.auroc < HOLDS for group in left.groups)


def _leads(other: Baseline) -> bool:
    """Whether the probe's lead over a baseline is more than chance."""
    return other.lead is not None and other.lead[0] > 0


def _as_well(found: Validation, other: Baseline) -> str:
    lead = other.auroc - found.nested.measures.auroc
    how = "better than it" if lead > NEARLY else "as well" if lead >= 0 else "nearly as well"
    return f"{how} (AUROC {_figure(other.auroc, other.interval)})"


def _figure(value: float, interval: Interval) -> str:
    return f"{value:.2f}, {interval[0]:.2f} to {interval[1]:.2f}"
