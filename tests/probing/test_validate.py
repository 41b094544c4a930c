"""Validating a probe that exists already, on the fake engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.contrast.pairs import Pair
from localprobe.errors import DataError, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from localprobe.probing.report import ProbeReport
from localprobe.probing.validate import texts_for, validate
from localprobe.vectors.vector import Direction

QUICK = ProbeConfig(resamples=100, permutations=10, random_directions=20)


@pytest.fixture(scope="module")
def fitted(shouting: list[Pair]) -> ProbeReport:
    return fit(Model(FakeEngine()), shouting, QUICK, concept="shouting")


def test_it_gives_the_figures_that_a_fit_gives(fitted: ProbeReport, shouting: list[Pair]) -> None:
    texts = texts_for(fitted.vector, shouting, config=QUICK)
    report = validate(Model(FakeEngine()), fitted.vector, texts)
    assert report.result == fitted.result
    assert report.vector is fitted.vector


def test_pairs_that_it_was_fitted_on_are_found_by_their_texts(fitted: ProbeReport, shouting: list[Pair]) -> None:
    own = set(fitted.vector.origin.trained_on)
    moved = [replace(pair, line=pair.line + 100, scenario="elsewhere") for pair in shouting]
    texts = texts_for(fitted.vector, moved, config=QUICK)
    assert {pair.hash for pair in texts.train} == own
    assert not {pair.hash for pair in texts.test} & own


def test_single_words_of_a_probe_of_0_1_are_found_by_their_texts_alone(fitted: ProbeReport) -> None:
    words = [Pair(f"yes{i}", f"no{i}", metadata={"prompt": f"Question {i}?"}, line=i + 1) for i in range(6)]
    origin = replace(fitted.vector.origin, trained_on=tuple(Pair(f"yes{i}", f"no{i}").hash for i in range(4)))
    texts = texts_for(replace(fitted.vector, origin=origin), words, config=replace(QUICK, pooling="answer"))
    assert (list(texts.train), list(texts.test)) == (words[:4], words[4:])


def test_training_pairs_may_come_from_another_set(fitted: ProbeReport, shouting: list[Pair]) -> None:
    own = set(fitted.vector.origin.trained_on)
    learnt, unseen = ([pair for pair in shouting if (pair.hash in own) is known] for known in (True, False))
    apart = texts_for(fitted.vector, unseen, train=learnt, config=QUICK)
    assert (list(apart.train), list(apart.test)) == (learnt, unseen)
    without = texts_for(fitted.vector, unseen, config=QUICK)
    assert (list(without.train), list(without.test)) == ([], unseen)
    result = validate(Model(FakeEngine()), fitted.vector, without).result
    assert result.train_pairs == 0
    assert [row.measures for row in result.layers] == [row.measures for row in fitted.layers]


def test_method_and_pooling_are_the_probes_own(shouting: list[Pair]) -> None:
    own = replace(QUICK, method="pca", pooling="last")
    vector = fit(Model(FakeEngine()), shouting, own, concept="shouting", validate=False).vector
    config = texts_for(vector, shouting, config=replace(QUICK, seed=7)).config
    assert config == replace(own, seed=7)


def test_pairs_that_cannot_be_used_are_one_clear_line(fitted: ProbeReport, shouting: list[Pair]) -> None:
    own = set(fitted.vector.origin.trained_on)
    learnt = [pair for pair in shouting if pair.hash in own]
    unseen = [pair for pair in shouting if pair.hash not in own]
    with pytest.raises(DataError, match=r"every pair of mine\.jsonl was used to fit this probe"):
        texts_for(fitted.vector, learnt, source="mine.jsonl")
    with pytest.raises(DataError, match=r"only one pair of mine\.jsonl was not used to fit this probe"):
        texts_for(fitted.vector, [*learnt, unseen[0]], source="mine.jsonl")
    with pytest.raises(DataError, match=f"{len(own) - 1} of the {len(own)} pairs .* neither in `pairs` nor in `train`"):
        texts_for(fitted.vector, unseen, train=learnt[:1])


def test_a_vector_that_is_no_probe_is_refused_before_anything_is_captured(
    fitted: ProbeReport, shouting: list[Pair]
) -> None:
    doubled = {layer: Direction(2 * each.vector) for layer, each in fitted.vector.directions.items()}
    with pytest.raises(DataError, match="holds control vectors of other lengths, not a probe"):
        texts_for(replace(fitted.vector, directions=doubled), shouting)
    summed = replace(fitted.vector, origin=replace(fitted.vector.origin, method="arithmetic"))
    with pytest.raises(UsageError, match="no method 'arithmetic'"):
        texts_for(summed, shouting)


def test_a_probe_of_another_width_is_refused_by_name(fitted: ProbeReport, shouting: list[Pair]) -> None:
    narrow = {4: Direction(np.array([1, 0, 0], np.float32))}
    vector = replace(fitted.vector, directions=narrow, best=4)
    with pytest.raises(VectorError, match="has width 3, but fake has 32"):
        validate(Model(FakeEngine()), vector, texts_for(vector, shouting, config=QUICK))
