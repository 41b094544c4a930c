"""The paper's two measures of a steered text, exactly as published: coherence, and which pole its words belong to.

Their flaws: the coherence rule passes most degenerate text (see `degeneration`), and a listed word also counts inside
other words, so "knowing" contains "win" and "scared" contains "care" (`inside_words` detects this).
"""

from __future__ import annotations

import re
from functools import cache

from localprobe.text_metrics.word_lists import WordLists


def coherent(text: str) -> bool:
    """At least 50 characters, at least 10 words (split on white space), and distinct words / words at least 0.3."""
    words = text.split()
    return len(text) >= 50 and len(words) >= 10 and len(set(words)) / len(words) >= 0.3


def expresses(text: str, lists: WordLists) -> bool:
    """Whether more words of the positive list than of the negative one occur in the lower-cased text, as substrings,
    each counted once. With the word lists of empathy this is the paper's "empathetic"."""
    lowered = text.lower()
    return sum(word in lowered for word in lists.positive) > sum(word in lowered for word in lists.negative)


def inside_words(text: str, lists: WordLists) -> bool:
    """Whether `expresses` would differ if a listed word had to start a word of the text: "careful" still counts for
    "care", "scared" no longer does."""
    lowered = text.lower()
    positive, negative = (
        sum(pattern.search(lowered) is not None for pattern in _beginning(words))
        for words in (lists.positive, lists.negative)
    )
    return (positive > negative) != expresses(text, lists)


@cache
def _beginning(words: tuple[str, ...]) -> list[re.Pattern[str]]:
    return [re.compile(rf"(?<!\w){re.escape(word)}") for word in words]
