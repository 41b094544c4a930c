"""The paper's two measures of a steered text, to the letter: is it coherent, and which pole do its words belong to?

What they hide: the coherence rule passes most degenerate text (`degeneration` names it), and a word of a list counts
inside other words too, so that "knowing" holds "win" and "scared" holds "care" (`inside_words` names such verdicts).
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
    """More words of the positive list present than of the negative, each counted once, as substrings of the lower-cased
    text. With the lists of empathy this is the paper's "empathetic"."""
    lowered = text.lower()
    return sum(word in lowered for word in lists.positive) > sum(word in lowered for word in lists.negative)


def inside_words(text: str, lists: WordLists) -> bool:
    """Whether `expresses` would say otherwise if a word of the lists had to begin a word of the text: "careful"
    still counts for "care", "scared" no longer does."""
    lowered = text.lower()
    positive, negative = (
        sum(pattern.search(lowered) is not None for pattern in _beginning(words))
        for words in (lists.positive, lists.negative)
    )
    return (positive > negative) != expresses(text, lists)


@cache
def _beginning(words: tuple[str, ...]) -> list[re.Pattern[str]]:
    return [re.compile(rf"(?<!\w){re.escape(word)}") for word in words]
