"""Texts that are the same, or nearly: exact over any number of texts, without comparing each with each.

Two texts are near-duplicates if the sets of their 3-word shingles have a Jaccard index of at least `NEAR`. Shingles
are put in order of rarity: then sets that are so alike must share one of each other's first few (Bayardo et al. 2007,
Scaling up all pairs similarity search), and only those few need an inverted index.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from localprobe.contrast.words import words

NEAR = 0.6
"""Jaccard index from which texts count as near-duplicates: about seven words changed, here and there, of eighty."""

_WORDS = 3


def normal(text: str) -> str:
    """A text without case, punctuation and spacing; texts that are equal so are duplicates."""
    return " ".join(words(text)) or text.strip()


def shingles(text: str) -> frozenset[str]:
    """Every run of three words; the whole text, if it is shorter."""
    found = words(text)
    return frozenset(" ".join(found[i : i + _WORDS]) for i in range(max(1, len(found) - _WORDS + 1)))


def same(texts: Sequence[str]) -> list[list[int]]:
    """Groups of indices of texts that are the same, each of two or more, in order of first appearance."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        groups[normal(text)].append(i)
    return [group for group in groups.values() if len(group) > 1]


def near(texts: Sequence[str], threshold: float = NEAR) -> list[list[int]]:
    """Groups of indices of texts that are linked by a Jaccard index of at least `threshold` (above 0), ordered as
    `same`. Exact duplicates are left to `same`: only the first of each stands here."""
    firsts = sorted({normal(text): i for i, text in reversed(list(enumerate(texts)))}.values())
    links = _Links([shingles(texts[i]) for i in firsts], threshold)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, i in enumerate(firsts):
        groups[links.root(place)].append(i)
    return [group for group in groups.values() if len(group) > 1]


class _Links:
    """Sets joined where they are alike: a forest in which every set points towards the root of its group."""

    def __init__(self, sets: Sequence[frozenset[str]], threshold: float) -> None:
        self._parent = list(range(len(sets)))
        counts = Counter(shingle for each in sets for shingle in each)
        index: dict[str, list[int]] = defaultdict(list)
        for later, each in enumerate(sets):
            rarest = sorted(each, key=lambda shingle: (counts[shingle], shingle))
            # A set this alike shares at least ceil(threshold * n) shingles, so it cannot miss all of these.
            prefix = rarest[: len(each) - math.ceil(threshold * len(each) - 1e-9) + 1]
            for earlier in {i for shingle in prefix for i in index[shingle]}:
                # Those already in the group are passed over, or a file of one template would take all pairs of texts.
                mine, other = self.root(later), self.root(earlier)
                if mine != other and jaccard(sets[earlier], each) >= threshold:
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
