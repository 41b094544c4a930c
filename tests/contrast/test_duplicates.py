"""Duplicates and near-duplicates, against comparing each text with each."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.contrast import duplicates
from localprobe.contrast.duplicates import NEAR, jaccard, near, normal, same, shingles
from localprobe.contrast.words import words

_TEXT = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=12).map(" ".join)


def test_same_reads_past_case_punctuation_and_spacing() -> None:
    assert same(["He waits.", "She waits.", "  he  WAITS!", "", "?"]) == [[0, 2]]


def test_words_of_any_script() -> None:
    assert words("Don\u2019t STOP \u2014 caf\u00e9, \uff11") == ["don't", "stop", "caf\u00e9", "1"]
    assert words("\u4f60\u597d ok") == ["\u4f60", "\u597d", "ok"]


@given(st.lists(_TEXT, max_size=25), st.sampled_from([0.2, 0.5, NEAR, 0.9, 1.0]))
@settings(max_examples=150, deadline=None)
def test_near_links_exactly_what_the_jaccard_index_links(texts: list[str], threshold: float) -> None:
    firsts = [i for i, text in enumerate(texts) if normal(text) not in {normal(t) for t in texts[:i]}]
    group = {i: {i} for i in firsts}
    for a in firsts:
        for b in firsts:
            if jaccard(shingles(texts[a]), shingles(texts[b])) >= threshold - 1e-12 and group[a] is not group[b]:
                joined = group[a] | group[b]
                group.update(dict.fromkeys(joined, joined))
    assert near(texts, threshold) == [sorted(g) for i, g in group.items() if len(g) > 1 and i == min(g)]


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_planted_near_duplicates_are_found_and_nothing_else(seed: int, changed: int) -> None:
    draw = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(500)]
    texts = [" ".join(draw.choices(vocabulary, k=80)) for _ in range(30)]
    source = draw.randrange(30)
    planted = texts[source].split()
    for at in draw.sample(range(80), changed):  # 5 of 80 words touch at most 15 of 78 shingles: Jaccard 63 / 93
        planted[at] = "changed"
    texts.insert(place := draw.randrange(31), " ".join(planted))
    assert near(texts) == [sorted([place, source + (place <= source)])]


def test_few_of_all_pairs_of_texts_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    texts = [" ".join(f"w{int(draw.paretovariate(0.6)) % 3000}" for _ in range(60)) for _ in range(1000)]
    texts[921] = texts[17].replace("w1 ", "x ", 2)
    compared: list[float] = []

    def counted(a: frozenset[str], b: frozenset[str]) -> float:
        compared.append(jaccard(a, b))
        return compared[-1]

    monkeypatch.setattr(duplicates, "jaccard", counted)
    assert [17, 921] in near(texts)
    assert len(compared) < 0.01 * 1000 * 999 / 2
