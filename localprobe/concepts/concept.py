"""A concept as two words, and how a model is asked to write in the manner of one and of the other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localprobe.contrast.pairs import Pair
from localprobe.contrast.scenarios import Scenario
from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.contrast.words import words
from localprobe.errors import UsageError
from localprobe.generators.generate import Recipe

_MANNER = (
    "Whatever you are asked, answer in one manner: {manner}. Let this manner show in every sentence, strongly, from "
    "the first word to the last. Never name it and never speak about it."
)
_TASK = "Answer in three or four sentences of plain prose."


@dataclass(frozen=True, slots=True)
class Concept:
    """A word, and the word that it is set against. UsageError for words that do not differ or are empty."""

    word: str
    """Names the positive pole, and the vector."""
    against: str = ""
    """Names the negative pole; empty for whatever the opposite of `word` is."""

    def __post_init__(self) -> None:
        if not words(self.word):
            raise UsageError(f"the word {self.word!r} names no concept: give one, such as patient")
        if self.against and not words(self.against):
            raise UsageError(f"`against` {self.against!r} names no concept: give a word, or leave it out")
        if words(self.word) == words(self.against):
            raise UsageError(f"{self.word!r} is set against itself: give `against` another word, or leave it out")

    @property
    def opposite(self) -> str:
        """The negative pole in words."""
        return self.against or f"the opposite of {self.word}"

    @property
    def system_prompts(self) -> SystemPrompts:
        """The two opposite system prompts: one text, in which only the manner differs."""
        return SystemPrompts(_MANNER.format(manner=self.word), _MANNER.format(manner=self.opposite), _TASK)

    def recipe(self, situations: Sequence[Scenario], pairs: int, temperature: float, tokens: int, seed: int) -> Recipe:
        """So many pairs over the situations, each used once before any is used again."""
        runs = -(-pairs // len(situations))
        return Recipe(tuple(situations), self.system_prompts, runs, temperature, tokens, seed, pairs)

    def file(self, generators: Sequence[str]) -> Path:
        """Where pairs are kept if no file is named: one file for these words and generators, so re-running resumes."""
        from localprobe.store.names import cut
        from localprobe.store.paths import data

        parts = [self.word, self.against, *generators]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        readable = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts if part)
        return data() / "concepts" / f"{cut(readable[:80], 160)}-{digest}.jsonl"

    def named(self, pairs: Sequence[Pair]) -> tuple[int, int]:
        """How many positive and how many negative texts hold either word, which none should."""
        named = [f" {' '.join(words(word))} " for word in (self.word, self.against) if word]

        def names(text: str) -> bool:
            spoken = f" {' '.join(words(text))} "
            return any(word in spoken for word in named)

        return sum(names(pair.positive) for pair in pairs), sum(names(pair.negative) for pair in pairs)
