"""A condition of a sweep with every measure of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localprobe.experiments.curves import Counts
from localprobe.stats.estimates import Mean


@dataclass(frozen=True, slots=True)
class SampleText:
    """One answer of a condition."""

    sample: int
    text: str
    expresses: bool
    """The words of the positive pole outnumber the other's."""
    coherent: bool
    """By the paper's rule."""
    reasons: tuple[str, ...]
    """Why it is degenerate; empty if it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures(Counts):
    """One condition: the answers to one prompt under one steering, with every measure of them."""

    reasons: Mapping[str, int]
    """Why answers are degenerate, and how many are for that reason, the most frequent first."""
    truncated: int
    """Answers that were cut at the limit of tokens."""
    tokens: float
    """Mean length of an answer."""
    score: Mean | None
    """The probe's score of the answers while they were steered, including the added vector; of an ablation at the layer
    of its direction what is left, which is 0 at a share of 1."""
    score_above: Mean | None
    """The same some layers above, which does not contain the added vector directly."""
    reading: Mean | None
    """The probe's score of the same texts, read with nothing added; None, as the rest, if not measured."""
    reading_above: Mean | None
    perplexity: float | None
    """Under the unsteered model."""
    perplexity_ratio: Mean | None
    """Geometric mean of the perplexities divided by that of the unsteered answers to the same prompt."""
    kl: float | None
    """KL divergence of the first token's distribution from the unsteered one, in nats."""
    judge: Mean | None
    """Score by the judge."""
    texts: tuple[SampleText, ...]
    """The first few answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(Measures):
    """A condition in which a vector is added, at a strength that has a sign, or in which nothing is."""

    alpha: float
    dose: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePoint(Measures):
    """A condition in which a share of what lies along a direction is taken away."""

    share: float
    """0 for the unsteered answers."""
