"""The texts of a probe: which pairs are fitted on, what is captured, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.chat_template import Exchange
from localprobe.contrast.pairs import Pair, split
from localprobe.errors import DataError
from localprobe.probing.config import ProbeConfig
from localprobe.probing.texts import ANY_PROMPT, ProbeTexts

CONFIG = ProbeConfig()


def numbered(texts: ProbeTexts) -> np.ndarray:
    """Residuals (texts, 1 layer, 2) that say which text they are of."""
    return np.arange(len(texts.all), dtype=np.float32)[:, None, None] + np.zeros((1, 1, 2), np.float32)


def test_every_text_is_captured_once_in_a_known_order(shouting: list[Pair]) -> None:
    texts = ProbeTexts.of(shouting[:4], "empathy", CONFIG, test=shouting[4:6], keywords={"and": "plus"})
    material = texts.material(numbered(texts), [7])
    train, test, ablated, neutral = material.train, material.test, material.ablated, material.neutral
    assert train is not None and test is not None and ablated is not None and neutral is not None
    assert [texts.all[int(i)] for i in train.positive[:, 0, 0]] == [p.positive for p in shouting[:4]]
    assert [texts.all[int(i)] for i in train.negative[:, 0, 0]] == [p.negative for p in shouting[:4]]
    assert [texts.all[int(i)] for i in test.negative[:, 0, 0]] == [p.negative for p in shouting[4:6]]
    assert all(" AND " not in str(texts.all[int(i)]) for i in ablated.positive[:, 0, 0])
    assert (ablated.keywords, len(ablated.replaced)) == (1, 2)
    assert len(neutral) == 40
    assert material.layers == [7]


def test_a_fit_that_is_not_validated_captures_the_pairs_alone(shouting: list[Pair]) -> None:
    texts = ProbeTexts.of(shouting, "empathy", CONFIG, validate=False)
    assert len(texts.all) == 2 * len(shouting)
    material = texts.material(numbered(texts), [7])
    assert material.ablated is material.neutral is None
    assert material.test is not None
    assert [texts.all[int(i)] for i in material.test.positive[:, 0, 0]] == [p.positive for p in texts.test]


def test_pairs_are_split_by_the_fraction_and_the_seed(shouting: list[Pair]) -> None:
    texts = ProbeTexts.of(shouting, "x", replace(CONFIG, test_fraction=0.4, seed=2))
    assert (texts.train, texts.test) == split(shouting, test_fraction=0.4, seed=2)


def test_keywords_that_are_given_take_the_place_of_those_that_ship(shouting: list[Pair]) -> None:
    def keywords(concept: str, words: dict[str, str] | None) -> int | None:
        texts = ProbeTexts.of(shouting, concept, CONFIG, keywords=words)
        ablated = texts.material(numbered(texts), [0]).ablated
        return ablated.keywords if ablated else None

    assert keywords("empathy", None) == 41
    assert keywords("empathy", {"help": "aid"}) == 1
    assert keywords("unknown", {"help": "aid"}) == 1
    assert keywords("unknown", None) is None


def test_keywords_of_the_wrong_kind_are_refused_and_their_case_does_not_matter(shouting: list[Pair]) -> None:
    pairs = [replace(pair, positive="Help me.") for pair in shouting]
    texts = ProbeTexts.of(pairs, "x", CONFIG, keywords={"Help": "aid"})
    assert texts.all.count("Aid me.") == len(texts.test)
    with pytest.raises(DataError, match="`keywords` holds no keywords"):
        len(ProbeTexts.of(pairs, "x", CONFIG, keywords={}).all)


def test_the_prompt_of_an_answer_is_the_pairs_own_or_its_scenarios(shouting: list[Pair]) -> None:
    own = replace(shouting[0], metadata={"prompt": "Say something."})
    config = replace(CONFIG, pooling="answer", test_fraction=0)
    texts = ProbeTexts.of([own, shouting[1]], "x", config, validate=False).all
    assert texts[0] == Exchange("Say something.", own.positive)
    assert isinstance(texts[1], Exchange) and "courier" in texts[1].prompt
    assert texts[3].answer == shouting[1].negative  # type: ignore[union-attr]
    with pytest.raises(DataError, match="the pair has no prompt"):
        ProbeTexts.of([Pair("a", "b", scenario="unknown", line=7)], "x", config, validate=False).all  # noqa: B018


@pytest.mark.parametrize("keywords", [None, {"and": "plus"}])
def test_each_answer_stands_after_the_prompt_of_its_pair(shouting: list[Pair], keywords: dict[str, str] | None) -> None:
    pairs = [replace(pair, metadata={"prompt": f"Question {i}?"}) for i, pair in enumerate(shouting)]
    texts = ProbeTexts.of(pairs, "unknown", replace(CONFIG, pooling="answer"), keywords=keywords)
    prompts = [text.prompt for text in texts.all if isinstance(text, Exchange)]
    asked = [[pair.metadata["prompt"] for pair in part] for part in (texts.train, texts.test)]
    ablated = asked[1] * 2 if keywords else []
    assert prompts == [*asked[0] * 2, *asked[1] * 2, *ablated, *[ANY_PROMPT] * 40]


def test_a_test_pair_may_not_be_fitted_on(shouting: list[Pair]) -> None:
    with pytest.raises(DataError, match="the test pair of line 1 is a training pair too"):
        ProbeTexts.of(shouting, "x", CONFIG, test=shouting[:2])


def test_one_test_pair_is_kept_out_of_the_fit_and_not_measured(shouting: list[Pair]) -> None:
    texts = ProbeTexts.of(shouting[:3], "x", CONFIG, validate=False)
    assert (len(texts.train), texts.test) == (2, [])


@pytest.mark.parametrize(
    ("count", "fraction", "message"),
    [
        (1, 0.3, "too few pairs: 1, of which `test_fraction` 0.3 holds 0 out for testing; a validation needs at least"),
        (4, 0.3, "too few pairs: 4, of which `test_fraction` 0.3 holds 1 out"),
        (20, 0.0, "too few pairs: 20, of which `test_fraction` 0 holds 0 out"),
    ],
)
def test_a_validation_takes_two_test_pairs(shouting: list[Pair], count: int, fraction: float, message: str) -> None:
    pairs = [replace(shouting[i % len(shouting)], positive=f"TEXT {i}") for i in range(count)]
    with pytest.raises(DataError, match=message):
        ProbeTexts.of(pairs, "x", replace(CONFIG, test_fraction=fraction))


def test_one_pair_given_to_test_on_is_too_few(shouting: list[Pair]) -> None:
    with pytest.raises(DataError, match="too few test pairs: 1; measuring needs at least 2"):
        ProbeTexts.of(shouting[1:], "x", CONFIG, test=shouting[:1], validate=False)


def test_a_pair_brings_its_system_prompt() -> None:
    pair = Pair("I care.", "Go away.", metadata={"prompt": "Hi", "system": "Be brief."})
    config = replace(CONFIG, pooling="answer", test_fraction=0)
    first, second = ProbeTexts.of([pair], "x", config, validate=False).all
    assert (first, second) == (Exchange("Hi", "I care.", "Be brief."), Exchange("Hi", "Go away.", "Be brief."))


@pytest.mark.parametrize("pooling", ["mean", "mean-without-first", "last"])
def test_texts_that_differ_by_their_prompts_alone_need_them(pooling: str) -> None:
    letters = [("(A)", "(B)"), ("(B)", "(A)")] * 6
    pairs = [Pair(*poles, metadata={"prompt": f"Question {i}?"}) for i, poles in enumerate(letters)]
    with pytest.raises(DataError, match=r"both poles hold the same texts, such as '\(A\)': .* give `pooling` answer"):
        _ = ProbeTexts.of(pairs, "x", replace(CONFIG, pooling=pooling)).all
    assert ProbeTexts.of(pairs, "x", replace(CONFIG, pooling="answer")).all[0].prompt.startswith("Question ")  # type: ignore[union-attr]
