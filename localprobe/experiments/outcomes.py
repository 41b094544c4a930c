"""Steered texts, and the measures of each that need no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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
    """A scenario or another name of a prompt."""
    alpha: float
    """The strength in the sweep's unit: a raw coefficient or a dose."""
    text: str
    reason: str | None = None
    """Why decoding ended, see `localprobe.generation.events.Reason`; None if unknown."""
    line: int = 0
    """Its line in the file, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The measures of one text."""

    expresses: bool
    """The words of the positive pole outnumber the others': the paper's "empathetic"."""
    coherent: bool
    """By the paper's rule."""
    reasons: tuple[str, ...] = ()
    """Why the text is degenerate, in words; empty if it is not."""
    truncated: bool | None = None
    """Cut at the limit of tokens; None if that is not known."""
    unfinished: bool = False
    """The text does not end as a sentence does."""
    inside_words: bool = False
    """`expresses` rests on a listed word inside another word, such as "win" in "knowing"."""

    @property
    def degenerate(self) -> bool:
        """Whether any measure of `degeneration` exceeds its limit."""
        return bool(self.reasons)

    @property
    def usable(self) -> bool:
        """Coherent by the paper's rule, and not degenerate."""
        return self.coherent and not self.reasons


@dataclass(frozen=True, slots=True)
class Outcome(Marks):
    """The measures of a text that was steered at a strength with a sign."""

    model: str
    layer: int | None
    scenario: str
    alpha: float


def prompt_name(scenario: str, pressure: bool) -> str:
    """The name of a prompt in samples, where a scenario without its pressure is another one."""
    return scenario if pressure else f"{scenario}, no pressure"


def marks(text: str, lists: WordLists, *, script: str = LATIN, reason: str | None = None) -> Marks:
    """Measure one text, which should be written in `script`; `reason` tells why decoding ended."""
    return Marks(**_measured(text, lists, script, reason))


def outcome(sample: Sample, lists: WordLists, *, script: str = LATIN) -> Outcome:
    """Measure one generation, which should be written in `script`."""
    where = sample.model, sample.layer, sample.scenario, sample.alpha
    return Outcome(*where, **_measured(sample.text, lists, script, sample.reason))


def _measured(text: str, lists: WordLists, script: str, reason: str | None) -> dict[str, Any]:
    report = degeneration(text, script=script, reason=reason)
    return {
        "expresses": expresses(text, lists),
        "coherent": coherent(text),
        "reasons": report.reasons,
        "truncated": report.truncated,
        "unfinished": report.unfinished,
        "inside_words": inside_words(text, lists),
    }


def outcomes(samples: Iterable[Sample], lists: WordLists) -> list[Outcome]:
    """Measure texts. Each should be in the script of the unsteered texts of its model and scenario."""
    samples = list(samples)
    unsteered: dict[tuple[str, str], list[str]] = {}
    for sample in samples:
        if sample.alpha == 0:
            unsteered.setdefault((sample.model, sample.scenario), []).append(sample.text)
    scripts = {key: script_of(texts) for key, texts in unsteered.items()}
    return [outcome(sample, lists, script=scripts.get((sample.model, sample.scenario), LATIN)) for sample in samples]
