"""The contrast sets that ship: whole, matched within each pair, and not given away by words or length."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from localprobe.contrast.check import check
from localprobe.contrast.duplicates import near, same
from localprobe.contrast.pairs import PAIR_SETS, Pair, read_pairs
from localprobe.contrast.scenarios import scenarios
from localprobe.contrast.words import give_aways, word_model
from localprobe.stats.auroc import auroc

SETS = {
    "empathy": dict.fromkeys(scenarios(), 12),
    "certainty": dict.fromkeys(["body", "technology", "past_and_nature", "everyday"], 10),
    "formality": dict.fromkeys(["workplace", "service", "neighbours", "explanations"], 10),
    "optimism": dict.fromkeys(["work_and_money", "health", "places", "people_and_plans"], 10),
}
LEXICAL = {"formality": 0.95}  # register is a choice of words; for the others 0.75 is the bound

every_set = pytest.mark.parametrize("name", SETS)


def pairs(name: str) -> list[Pair]:
    return read_pairs(PAIR_SETS.path(name))


def words(text: str) -> int:
    return len(text.split())


@every_set
def test_every_group_is_full_and_its_ids_are_numbered(name: str) -> None:
    found = pairs(name)
    assert Counter(pair.scenario for pair in found) == SETS[name]
    assert [pair.id for pair in found] == [
        f"{group}-{i:02}" for group, n in SETS[name].items() for i in range(1, n + 1)
    ]


def test_no_text_of_any_set_is_or_nearly_is_another() -> None:
    texts = [text for name in SETS for pair in pairs(name) for text in (pair.positive, pair.negative)]
    assert not same(texts)
    assert not near(texts)


@every_set
def test_the_texts_of_a_pair_are_alike_in_length(name: str) -> None:
    lengths = np.array([[words(pair.positive), words(pair.negative)] for pair in pairs(name)], dtype=np.float32).T
    assert (lengths.max(axis=0) / lengths.min(axis=0)).max() <= 1.12
    assert lengths[0].mean() == pytest.approx(lengths[1].mean(), rel=0.02)
    assert 0.45 <= auroc(*lengths) <= 0.55
    assert lengths.min() >= 25
    assert lengths.max() <= 125


def test_the_empathy_texts_come_short_and_long() -> None:
    lengths = [words(text) for pair in pairs("empathy") for text in (pair.positive, pair.negative)]
    assert max(lengths) > 2 * min(lengths)
    assert min(lengths) >= 40


@every_set
def test_no_word_gives_a_pole_away(name: str) -> None:
    found = pairs(name)
    word = give_aways([pair.positive for pair in found], [pair.negative for pair in found])[0]
    assert abs(word.auroc - 0.5) < 0.12, word


@every_set
def test_words_learned_in_some_groups_say_little_in_another(name: str) -> None:
    assert _group_left_out(pairs(name)) < LEXICAL.get(name, 0.75)


@every_set
def test_the_check_finds_nothing_to_mend(name: str) -> None:
    assert not [each for each in check(pairs(name)).findings if each.severity == "error"]


@every_set
def test_texts_are_plain_one_line_prose(name: str) -> None:
    for pair in pairs(name):
        for text in (pair.positive, pair.negative):
            assert text == text.strip()
            assert "\n" not in text
            assert "  " not in text
            assert text.isascii(), pair.id


def test_everything_that_ships_has_a_card() -> None:
    folder = PAIR_SETS.folder.parent
    card = (folder / "DATA.md").read_text(encoding="utf-8")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.json*")]
    assert len(names) == 16
    assert [name for name in names if f"`{name}`" not in card and f"`{name.split('/')[0]}/`" not in card] == []


def _group_left_out(found: list[Pair]) -> float:
    """Mean over groups of the AUROC that a bag of words, fitted on the other groups, has on that one."""
    areas = []
    for group in {pair.scenario for pair in found}:
        rest = [pair for pair in found if pair.scenario != group]
        texts = [pair.positive for pair in rest] + [pair.negative for pair in rest]
        model = word_model().fit(texts, np.repeat([1, 0], len(rest)))
        poles = zip(*((pair.positive, pair.negative) for pair in found if pair.scenario == group), strict=True)
        areas.append(auroc(*(model.decision_function(list(pole)).astype(np.float32) for pole in poles)))
    return float(np.mean(areas))
