"""Lexical ablation (the paper's Figure 3): the probe on test texts whose keywords are replaced by synonyms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from localprobe.engine import FloatArray
from localprobe.stats.intervals import Area, area

Reading: TypeAlias = Literal["strong", "moderate", "weak"]

STRONG, WEAK = 0.15, 0.30
"""The paper's reading: an AUROC drop below the first means a robust probe, above the second a weak one."""


@dataclass(frozen=True, slots=True)
class Ablated:
    """Test texts without their keywords: row i of each field is test pair i."""

    positive: FloatArray
    """Residuals (pairs, layers, width)."""
    negative: FloatArray
    replaced: tuple[int, ...]
    """Words replaced in each pair, both texts together."""
    keywords: int
    """Keywords in the list."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """Effect of the ablation on the AUROC at the cross-validated layer."""

    before: Area
    after: Area
    drop: float
    replaced: float
    """Words replaced in an average pair."""
    keywords: int
    reading: Reading
    """How robust the probe is without the keywords."""


def ablate(text: str, words: Mapping[str, str]) -> tuple[str, int]:
    """Replace whole words, whatever their case, by their synonyms in the same case; returns the text and how many.

    `words` has its keywords in lower case. Replacements are not replaced again.
    """
    if not words:
        return text, 0
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
    return pattern.subn(lambda match: _cased(words.get(match[0].lower(), match[0]), match[0]), text)


def ablate_pairs(
    positive: Sequence[str], negative: Sequence[str], words: Mapping[str, str]
) -> tuple[list[str], list[str], tuple[int, ...]]:
    """Both texts of every pair without their keywords, and how many words were replaced in each pair."""
    high, low = ([ablate(text, words) for text in texts] for texts in (positive, negative))
    counts = tuple(a[1] + b[1] for a, b in zip(high, low, strict=True))
    return [text for text, _ in high], [text for text, _ in low], counts


def lexical(
    before: tuple[FloatArray, FloatArray],
    after: tuple[FloatArray, FloatArray],
    replaced: Sequence[int],
    keywords: int,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Lexical:
    """The effect of the ablation, from the scores (pairs,) of both poles before and after."""
    original, ablated = (area(*scores, resamples=resamples, seed=seed) for scores in (before, after))
    drop = original.auroc - ablated.auroc
    reading: Literal["strong", "moderate", "weak"] = (
        "strong" if drop < STRONG else "weak" if drop > WEAK else "moderate"
    )
    return Lexical(original, ablated, drop, sum(replaced) / len(replaced), keywords, reading)


def _cased(synonym: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return synonym.upper()
    return synonym[:1].upper() + synonym[1:] if like[:1].isupper() else synonym
