"""Finding duplicate and near-duplicate texts, exactly and without comparing all pairs of texts.

Two texts are near-duplicates if the sets of their 3-word shingles have a Jaccard index of at least `NEAR`. With
shingles sorted by rarity, two such sets must share one of their first few (Bayardo et al. 2007, Scaling up all pairs
similarity search), so only those few go into an inverted index.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from localprobe.contrast.words import words

NEAR = 0.6
"""Jaccard index from which texts count as near-duplicates: about seven scattered changes in eighty words."""

_WORDS = 3


def normal(text: str) -> str:
    """A text without case, punctuation and spacing. Texts with equal normal forms are duplicates."""
    return " ".join(words(text)) or text.strip()


def shingles(text: str) -> frozenset[str]:
    """Every sequence of three words; the whole text if it is shorter."""
    sequence = words(text)
    return frozenset(" ".join(sequence[i : i + _WORDS]) for i in range(max(1, len(sequence) - _WORDS + 1)))


def same(texts: Sequence[str]) -> list[list[int]]:
    """Groups of indices of texts that are the same, each of two or more, in order of first appearance."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        groups[normal(text)].append(i)
    return [group for group in groups.values() if len(group) > 1]


def near(texts: Sequence[str], threshold: float = NEAR) -> list[list[int]]:
    """Groups of indices of texts that are linked by a Jaccard index of at least `threshold` (above 0), ordered as
    in `same`. Of exact duplicates, which `same` reports, only the first is included."""
    firsts = sorted({normal(text): i for i, text in reversed(list(enumerate(texts)))}.values())
    links = _Links([shingles(texts[i]) for i in firsts], threshold)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, i in enumerate(firsts):
        groups[links.root(place)].append(i)
    return [group for group in groups.values() if len(group) > 1]


class _Links:
    """Groups of similar sets (union-find): every set points towards the root of its group."""

    def __init__(self, sets: Sequence[frozenset[str]], threshold: float) -> None:
        self._parent = list(range(len(sets)))
        counts = Counter(shingle for shingled in sets for shingle in shingled)
        index: dict[str, list[int]] = defaultdict(list)
        for later, shingled in enumerate(sets):
            rarest = sorted(shingled, key=lambda shingle: (counts[shingle], shingle))
            # A similar set shares at least ceil(threshold * n) shingles, so at least one of this prefix.
            prefix = rarest[: len(shingled) - math.ceil(threshold * len(shingled) - 1e-9) + 1]
            for earlier in {i for shingle in prefix for i in index[shingle]}:
                # Members of the same group are skipped: a file of one template would need all pairs of texts otherwise.
                mine, other = self.root(later), self.root(earlier)
                if mine != other and jaccard(sets[earlier], shingled) >= threshold:
                    self._parent[mine] = other
            for shingle in prefix:
                index[shingle].append(later)

    def root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared members over all members."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
