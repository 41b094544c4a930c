"""A whole study on the fake engine."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from localprobe.probing.study import Choices, Texts, pairs_in, study

from localprobe.chat_template import Exchange
from localprobe.contrast.pairs import Pair, read_pairs, shipped
from localprobe.errors import DataError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.detection import comparison, detect, paper_layers
from localprobe.probing.validation import Effort

QUICK = Effort(resamples=100, permutations=10, directions=20)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Told apart by how they are written."""
    return [
        replace(pair, positive=pair.positive[:40].upper(), negative=pair.negative[:40].lower())
        for pair in read_pairs(shipped("empathy"))[::4]
    ]


def test_a_study_fits_on_some_pairs_and_measures_on_the_others(pairs: list[Pair]) -> None:
    found = study(Model(FakeEngine()), pairs, Choices("shouting", effort=QUICK))
    assert found.vector.concept == "shouting"
    assert found.validation.train_pairs + found.validation.test_pairs == len(pairs)
    known = set(found.vector.origin.trained_on)
    assert len(known) == found.validation.train_pairs
    assert found.positive.shape == found.negative.shape == (found.validation.test_pairs, 6)
    assert found.vector.directions[found.vector.layer()].measures["auroc"] == found.validation.nested.measures.auroc
    json.dumps(found.as_json(), allow_nan=False)


def test_scores_in_the_result_are_those_that_its_figures_come_from(pairs: list[Pair]) -> None:
    found = study(Model(FakeEngine()), pairs, Choices("shouting", effort=QUICK)).as_json()
    for i, layer in enumerate(found["layers"]):
        high, low = (np.array(found["scores"][pole][i]) for pole in ("positive", "negative"))
        assert (high[:, None] > low).mean() == pytest.approx(layer["auroc"], abs=0.02)
        assert high.mean() - low.mean() == pytest.approx(layer["separation"], rel=1e-3)


def test_answers_are_read_within_a_chat(pairs: list[Pair]) -> None:
    asked = [replace(pair, metadata={"prompt": "What do you do?"}) for pair in pairs]
    found = study(Model(FakeEngine()), asked, Choices("shouting", pooling="answer", effort=QUICK))
    assert found.vector.origin.pooling == "answer"
    assert found.validation.nested.measures.auroc > 0.8


def test_the_prompt_of_an_answer_is_the_pairs_own_or_its_scenarios(pairs: list[Pair]) -> None:
    own = replace(pairs[0], metadata={"prompt": "Say something."})
    texts = pairs_in([own, pairs[1]], "answer")
    assert texts[0] == Exchange("Say something.", own.positive)
    assert isinstance(texts[1], Exchange) and "courier" in texts[1].prompt
    assert texts[3].answer == pairs[1].negative  # type: ignore[union-attr]
    with pytest.raises(DataError, match="the pair has no prompt"):
        pairs_in([Pair("a", "b", scenario="unknown", line=7)], "answer")


def test_every_text_of_a_study_is_captured_once_in_a_known_order(pairs: list[Pair]) -> None:
    texts = Texts.of(pairs[:4], pairs[4:6], "empathy", {"and": "plus"})
    n = len(texts.all)
    train, test, ablated, neutral = texts.parts(np.arange(n, dtype=np.float32)[:, None, None] + np.zeros((1, 1, 2)))
    assert train is not None and ablated is not None
    assert [texts.all[int(i)] for i in train.positive[:, 0, 0]] == [p.positive for p in pairs[:4]]
    assert [texts.all[int(i)] for i in test.negative[:, 0, 0]] == [p.negative for p in pairs[4:6]]
    assert len(neutral) == 40


def test_a_test_pair_may_not_be_fitted_on(pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="is a training pair too"):
        study(Model(FakeEngine()), pairs, Choices("x", effort=QUICK), test=pairs[:2])


def test_two_loads_of_one_model_are_compared_direction_by_direction(pairs: list[Pair]) -> None:
    choices = Choices("shouting", effort=QUICK)
    one, two = detect(Model(FakeEngine()), pairs, choices), detect(Model(FakeEngine(seed=1)), pairs, choices)
    (same,) = comparison([one, one], resamples=50)
    assert same["directions"] == pytest.approx([1] * 6)
    other = replace(two, measured_on={**two.measured_on, "model": "another"})
    (different,) = comparison([one, other], resamples=50)
    assert different["directions"] is None
    assert different["within_poles"]["value"] < 1


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(32, [8, 12, 16, 20, 24, 28]), (28, [8, 12, 16, 20, 24]), (30, [8, 12, 16, 20, 24, 28]), (12, [3, 4, 6, 7, 9])],
)
def test_the_papers_layers_or_the_same_depths(depth: int, layers: list[int]) -> None:
    assert paper_layers(depth, range(depth)) == layers


def test_only_layers_that_were_captured_are_the_papers() -> None:
    assert paper_layers(32, [4, 8, 16]) == [8, 16]
