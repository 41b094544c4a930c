"""Steered texts, and what the measures that need no model say of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localprobe.text_metrics.degeneration import LATIN, degeneration, script_of
from localprobe.text_metrics.language import coherent, expresses, inside_words
from localprobe.text_metrics.word_lists import WordLists


@dataclass(frozen=True, slots=True)
class Sample:
    """One generation."""

    model: str
    layer: int | None
    """The steered layer; None where nothing was steered (alpha 0)."""
    scenario: str
    """Or any other name of a prompt."""
    alpha: float
    """The strength, in whatever unit the sweep had: a raw coefficient or a dose."""
    text: str
    reason: str | None = None
    """Why decoding ended, as `decode.Finished` has it; None if that is not known."""
    line: int = 0
    """Where it stands in its file, from 1."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen in one generation."""

    model: str
    layer: int | None
    scenario: str
    alpha: float
    expresses: bool
    """The words of the positive pole outnumber the others': the paper's "empathetic"."""
    coherent: bool
    """By the paper's rule."""
    reasons: tuple[str, ...] = ()
    """Why the text is degenerate, in words; nothing if it is not."""
    truncated: bool | None = None
    """Cut at the limit of tokens; None if that is not known."""
    unfinished: bool = False
    """The text does not end as a sentence does."""
    inside_words: bool = False
    """`expresses` hangs on a word of the lists inside another word, as "win" in "knowing"."""

    @property
    def degenerate(self) -> bool:
        """Whether any instrument of `degeneration` is over its limit."""
        return bool(self.reasons)

    @property
    def usable(self) -> bool:
        """Coherent by the paper's rule, and not degenerate."""
        return self.coherent and not self.reasons


def prompt_name(scenario: str, pressure: bool) -> str:
    """What samples call a prompt: a scenario without its pressure is another one."""
    return scenario if pressure else f"{scenario}, no pressure"


def outcome(sample: Sample, lists: WordLists, *, script: str = LATIN) -> Outcome:
    """Measure one generation, which should be written in `script`."""
    found = degeneration(sample.text, script=script, reason=sample.reason)
    return Outcome(
        sample.model,
        sample.layer,
        sample.scenario,
        sample.alpha,
        expresses=expresses(sample.text, lists),
        coherent=coherent(sample.text),
        reasons=found.reasons,
        truncated=found.truncated,
        unfinished=found.unfinished,
        inside_words=inside_words(sample.text, lists),
    )


def outcomes(samples: Iterable[Sample], lists: WordLists) -> list[Outcome]:
    """Measure generations. Each should be in the script of the unsteered ones of its model and scenario."""
    samples = list(samples)
    unsteered: dict[tuple[str, str], list[str]] = {}
    for each in samples:
        if each.alpha == 0:
            unsteered.setdefault((each.model, each.scenario), []).append(each.text)
    scripts = {key: script_of(texts) for key, texts in unsteered.items()}
    return [outcome(each, lists, script=scripts.get((each.model, each.scenario), LATIN)) for each in samples]
