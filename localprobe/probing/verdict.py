"""A verdict in plain words from the figures of a probe: what it shows, and what it does not.

Each rule is one function or one line with a named limit, so that it can be checked and disputed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from localprobe.probing.baselines import Baseline
from localprobe.probing.leave_out import LeaveOut
from localprobe.probing.result import LayerResult, ProbeResult, Validation, Verdict
from localprobe.stats.intervals import Interval

SIGNIFICANT = 0.05
NEARLY = 0.05
"""A baseline whose AUROC is at most this far below the probe's does nearly as well."""
FLATTERED = 0.02
"""The best layer on the test texts may be this much better than the cross-validated one."""
WIDE = 0.15
"""An AUROC interval wider than this is too wide for a precise figure."""
HOLDS = 0.7
"""A probe fails on a left-out scenario if its AUROC is below this."""
STABLE = 0.8
"""A cosine below this, of the directions fitted on two halves of the pairs, means an unstable direction."""
ONE_POLE = 0.25
"""Neutral texts whose mean lies this near to a pole, or beyond it, belong to that pole."""


def verdict_on(result: ProbeResult, validation: Validation) -> Verdict:
    """The verdict on a probe, from its figures and their controls."""
    evidence = _Evidence(result, validation)
    return Verdict(_headline(evidence), tuple(_shows(evidence)), tuple(_does_not_show(evidence)))


def objection(result: ProbeResult) -> str | None:
    """Why a validated probe is no evidence of its concept, as its headline says it: chance, words, length, or scenarios
    that it does not reach. None if no such reason was found, or if it was not validated."""
    return _objection(_Evidence(result, result.validation)) if result.validation else None


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The figures that the rules use."""

    result: ProbeResult
    validation: Validation

    @property
    def chosen(self) -> LayerResult:
        return self.result.chosen

    @property
    def pairs(self) -> int:
        return self.result.test_pairs

    @property
    def scenario(self) -> LeaveOut | None:
        return self.validation.leave_one_out.get("scenario")

    @property
    def above_chance(self) -> bool:
        """The AUROC's interval lies above 0.5, and the permutation test agrees."""
        return self.chosen.auroc_interval[0] > 0.5 and self.validation.permutation.p <= SIGNIFICANT

    def nearly(self, other: Baseline | None) -> bool:
        """Whether a baseline separates nearly as well as the probe, and better than chance."""
        return other is not None and other.auroc >= self.chosen.auroc - NEARLY and other.interval[0] > 0.5

    def as_well(self, other: Baseline) -> str:
        lead = other.auroc - self.chosen.auroc
        manner = "better" if lead > NEARLY else "as well" if lead >= 0 else "nearly as well"
        return f"{manner} (AUROC {_figure(other.auroc, other.interval)})"

    @property
    def lexical(self) -> str | None:
        """Why the probe may read words alone: one word does as well, or it fails without its keywords."""
        baselines, ablation = self.validation.baselines, self.validation.lexical
        if baselines and self.nearly(baselines.best_word):
            return (
                f"one word alone, {baselines.best_word.word!r}, separates the poles {self.as_well(baselines.best_word)}"
            )
        if ablation and ablation.reading == "weak":
            return (
                f"with its keywords replaced by synonyms its AUROC falls from {ablation.before.auroc:.2f} to "
                f"{ablation.after.auroc:.2f}"
            )
        return None

    @property
    def reached(self) -> str:
        return f"AUROC {_figure(self.chosen.auroc, self.chosen.auroc_interval)}"


def _headline(evidence: _Evidence) -> str:
    if why := _objection(evidence):
        return why
    baselines, where = evidence.validation.baselines, f"{evidence.reached} at layer {evidence.chosen.layer}"
    if baselines is None:
        return f"The probe separates unseen pairs ({where}). It was not compared with words: no texts were given."
    lead = "better than a bag of words does" if _leads(baselines.bag_of_words) else "perhaps no better than words do"
    return f"The probe separates unseen pairs ({where}), {lead}."


def _objection(evidence: _Evidence) -> str | None:
    reached = evidence.reached
    if not evidence.above_chance:
        return f"Not shown: on {evidence.pairs} unseen pairs the probe is not distinguishable from chance ({reached})."
    if why := _simpler(evidence, reached):
        return why
    if (scenario := evidence.scenario) and (not _above_chance(scenario) or scenario.pooled.auroc < HOLDS):
        pooled = _figure(scenario.pooled.auroc, scenario.pooled.interval)
        return (
            f"Only where it was fitted: the probe separates unseen pairs of known scenarios ({reached}), but not those "
            f"of a scenario left out of the fit (AUROC {pooled})."
        )
    return None


def _simpler(evidence: _Evidence, reached: str) -> str | None:
    """A simpler explanation of the probe's figures, if there is one."""
    baselines = evidence.validation.baselines
    if why := evidence.lexical:
        return f"Lexical: {why}. The probe may read nothing else."
    if baselines is None:
        return None
    for length in (baselines.length_words, baselines.length_characters):
        if evidence.nearly(length):
            return f"Length: text length alone separates the poles {evidence.as_well(length)}."
    if evidence.nearly(baselines.bag_of_words):
        return (
            f"Vocabulary: the probe separates unseen pairs ({reached}), but a bag of words does "
            f"{evidence.as_well(baselines.bag_of_words)}. The texts do not show more than vocabulary."
        )
    return None


def _shows(evidence: _Evidence) -> Iterator[str]:
    chosen, validation = evidence.chosen, evidence.validation
    words, ablation, neutral = validation.baselines, validation.lexical, validation.neutral
    if evidence.above_chance:
        low, high = chosen.accuracy_interval
        yield (
            f"At layer {chosen.layer}, chosen without the test texts, the poles of {evidence.pairs} unseen pairs are "
            f"separated with AUROC {_figure(chosen.auroc, chosen.auroc_interval)} and accuracy {chosen.accuracy:.0%} "
            f"({low:.0%} to {high:.0%})."
        )
        test = validation.permutation
        yield f"This is not explained by chance: permutation p = {test.p:.2g} with {test.n} permutations."
    if words and evidence.above_chance and not evidence.nearly(words.bag_of_words) and _leads(words.bag_of_words):
        bag = words.bag_of_words
        yield f"It reads more than which words occur: a bag of words reaches {_figure(bag.auroc, bag.interval)}."
    if ablation and ablation.reading == "strong" and ablation.replaced >= 1 and evidence.above_chance:
        yield (
            f"It survives keyword ablation: with {ablation.replaced:.1f} words per pair replaced by synonyms, AUROC "
            f"{_figure(ablation.after.auroc, ablation.after.interval)}."
        )
    for left in validation.leave_one_out.values():
        if _above_chance(left) and not _failing(left):
            yield (
                f"It generalises to a {left.by} that it was not fitted on: AUROC "
                f"{_figure(left.pooled.auroc, left.pooled.interval)} over {len(left.groups)} left out in turn."
            )
    if neutral and ONE_POLE < neutral.position < 1 - ONE_POLE:
        yield f"Neutral texts fall between the poles, at {neutral.position:.2f} (0 is negative, 1 positive)."


def _does_not_show(evidence: _Evidence) -> Iterator[str]:
    yield from _about_words(evidence)
    if not evidence.above_chance:
        yield f"That the poles can be separated at all: permutation p = {evidence.validation.permutation.p:.2g}."
    for by, left in evidence.validation.leave_one_out.items():
        for group in left.groups:
            if group.at_layer.auroc < HOLDS:
                yield (
                    f"That it reads the {by} {group.name!r}: fitted without it, AUROC "
                    f"{_figure(group.at_layer.auroc, group.at_layer.interval)} on its "
                    f"{'only pair' if group.pairs == 1 else f'{group.pairs} pairs'}."
                )
    if not evidence.scenario:
        yield "That it generalises to another scenario: the pairs name fewer than two."
    yield from _about_choice(evidence)
    yield from _about_neutral(evidence)
    yield "That the model uses this direction: reading it is not steering with it."


def _about_words(evidence: _Evidence) -> Iterator[str]:
    words = evidence.validation.baselines
    if words is None:
        yield "That it reads more than words or length: no texts were given to compare with."
        yield from _about_depth(evidence, None)
        return
    bag = words.bag_of_words
    if why := evidence.lexical:
        yield f"More than a word list: {why}."
    elif evidence.nearly(bag):
        yield f"More than vocabulary: a bag of words reaches {_figure(bag.auroc, bag.interval)} on the same texts."
    elif not _leads(bag):
        yield (
            f"That it reads more than words: its lead over a bag of words ({_figure(bag.auroc, bag.interval)}) may be "
            "chance."
        )
    for name, length in (("words", words.length_words), ("characters", words.length_characters)):
        if evidence.nearly(length):
            yield f"More than length: the number of {name} reaches {_figure(length.auroc, length.interval)}."
    yield from _about_depth(evidence, words.layer_0)
    yield from _about_keywords(evidence)


def _about_depth(evidence: _Evidence, first: Baseline | None) -> Iterator[str]:
    if evidence.chosen.layer == 0:
        yield "That depth is needed: the chosen layer is 0, which has read hardly any context."
    elif first and evidence.nearly(first):
        yield f"That depth is needed: layer 0, with hardly any context, reaches {_figure(first.auroc, first.interval)}."


def _about_keywords(evidence: _Evidence) -> Iterator[str]:
    ablation = evidence.validation.lexical
    if ablation is None:
        yield "That it survives keyword ablation: none was run, as there is no keyword list."
    elif ablation.replaced < 1:
        yield f"That it survives keyword ablation: only {ablation.replaced:.1f} words per pair could be replaced."
    elif ablation.reading == "moderate":
        yield f"That keywords do not matter: without them its AUROC falls by {ablation.drop:.2f}."


def _about_choice(evidence: _Evidence) -> Iterator[str]:
    chosen, best = evidence.chosen, evidence.result.best
    low, high = chosen.auroc_interval
    if high - low > WIDE:
        yield f"A precise figure: with {evidence.pairs} test pairs its AUROC may lie from {low:.2f} to {high:.2f}."
    if best.auroc - chosen.auroc > FLATTERED:
        yield (
            f"The {best.auroc:.2f} of layer {best.layer}: that layer was chosen on the test texts. Chosen without them "
            f"it is layer {chosen.layer}, with {chosen.auroc:.2f}."
        )
    if chosen.random and chosen.random.percentile < 95:
        yield (
            f"A special direction: {100 - chosen.random.percentile:.0f} % of random ones do as well on these texts "
            f"(mean {chosen.random.mean:.2f}, std {chosen.random.std:.2f})."
        )
    halves = chosen.agreement.halves if chosen.agreement else None
    if halves is not None and halves < STABLE:
        yield f"A stable direction: two halves of the pairs give directions with cosine {halves:.2f}. Add pairs."


def _about_neutral(evidence: _Evidence) -> Iterator[str]:
    if evidence.validation.neutral is None:
        return
    at = evidence.validation.neutral.position
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
    """Whether the probe's lead over a baseline is not explained by chance."""
    return other.lead is not None and other.lead[0] > 0


def _above_chance(left: LeaveOut) -> bool:
    """Whether all groups together, each left out, are separated better than chance."""
    return left.pooled.interval is not None and left.pooled.interval[0] > 0.5


def _figure(value: float, interval: Interval | None) -> str:
    """A figure and its interval; one pair has none."""
    return f"{value:.2f}" if interval is None else f"{value:.2f}, {interval[0]:.2f} to {interval[1]:.2f}"
