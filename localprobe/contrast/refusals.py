"""Unusable answers: empty, too short, one phrase over and over, or a model's refusal (in English)."""

from __future__ import annotations

import re

from localprobe.contrast.words import words

_UNABLE = r"(?:can't|cannot|can not|won't|will not|(?:am|'m) (?:unable|not able|not going) to)"
_WRITE = r"(?:fulfil+|complete|generate|write|create|produce|provide|answer|continue(?: with)?|do|role-?play|simulate)"
_WRITING = r"(?:writing|generating|creating|providing|producing|answering|role-?playing|responding)"
_THIS = r"(?:that|this|such|these|your|any such|any)(?: (?:kind|type|sort) of)?"
_TEXT = r"(?:requests?|prompts?|content|responses?|answers?|texts?|scenarios?|role-?plays?)"
_AI = r"(?:ai|language model|artificial intelligence)"

REFUSALS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\bi ?{_UNABLE} (?:\w+ly )?(?:help|assist)(?: you)? with {_THIS}\b",
        rf"\bi ?{_UNABLE} (?:\w+ly )?{_WRITE} {_THIS}(?: \w+)? {_TEXT}\b",
        rf"\bi ?{_UNABLE} (?:\w+ly )?(?:comply|role-?play|engage (?:in|with) {_THIS} {_TEXT})\b",
        r"\b(?:sorry|apologi[sz]e|afraid|regret)\b[^.!?]{0,20}"
        rf"\bi ?{_UNABLE} (?:help|assist|comply|do)(?: you)?(?: with)?(?: that| this)?(?:[.,;!]|$)",
        rf"\bas an? (?:\w+ )?{_AI}\b[^.!?]{{0,40}}\bi ?(?:{_UNABLE}|do not have|don't have)",
        r"\bi (?:must|have to|need to) (?:respectfully |politely )?decline (?:this|that|your|to (?:answer|write))\b",
        rf"\bi(?: do not|'m not| am not| don't)(?: feel)? comfortable (?:with (?:this|that) \w+|{_WRITING})\b",
        r"\b(?:against|violates?|violating) (?:my|our|the) (?:programming|guidelines|usage polic|content polic|safety)",
    )
)
"""Patterns near the beginning of refusals, for text in lower case with straight apostrophes."""

_BEGINNING = 300  # characters: further on, a character of a story may decline something
_DISTINCT = 0.15  # share of distinct words: above one half in a story of 100 words


def is_refusal(text: str) -> bool:
    """Whether a text begins as a model's refusal to write it. Someone who declines within a story does not count."""
    beginning = " ".join(text.casefold().replace("\u2019", "'").split())[:_BEGINNING]
    return any(pattern.search(beginning) for pattern in REFUSALS)


def fault(text: str, *, least: int = 3) -> str | None:
    """Why a text is unusable, in a few words, or None; `least` is the minimum number of words."""
    sequence = words(text)
    if not sequence:
        return "empty"
    if is_refusal(text):
        return "a refusal"
    if len(sequence) < least:
        return f"only {len(sequence)} word{'s' if len(sequence) > 1 else ''}"
    repeats = len(sequence) >= 20 and len(set(sequence)) / len(sequence) < _DISTINCT
    return "repeats itself" if repeats else None
