"""The logit lens on the fake engine."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from localprobe.engine import Row
from localprobe.errors import DataWarning, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.lens import logit_lens
from localprobe.lens.logit_lens import lens
from localprobe.model import Model
from localprobe.sampling import log_softmax
from localprobe.steering.knob import watch
from localprobe.vectors.vector import Direction, Origin, Vector

TEXT = "What is it like?"
LAYERS = list(range(6))


@pytest.fixture
def kindness() -> Vector:
    row = np.random.default_rng(3).standard_normal(32).astype(np.float32)
    return Vector("kindness", Origin("fake"), {2: Direction(row), 4: Direction(row, threshold=0.5, norm=2.0)}, 4)


def test_each_layer_is_read_by_the_models_own_norm_and_head(engine: FakeEngine) -> None:
    found = lens(engine, TEXT, LAYERS, top=4)
    ids = engine.encode(TEXT)
    residuals = engine.forward([Row(ids)], LAYERS)[0].residuals
    logprobs = log_softmax(engine._model.logits(residuals))  # (layers, n, vocabulary)
    np.testing.assert_allclose(found.logprobs, np.sort(logprobs)[:, :, :-5:-1], atol=1e-4)
    np.testing.assert_allclose(np.take_along_axis(logprobs, found.top, -1), found.logprobs, atol=1e-4)
    np.testing.assert_allclose(found.following[:, :-1], logprobs[:, np.arange(len(ids) - 1), ids[1:]], atol=1e-4)
    assert np.isnan(found.following[:, -1]).all()


def test_the_last_layer_is_what_the_model_predicts(engine: FakeEngine) -> None:
    found = lens(engine, TEXT, [5], top=260)
    full = engine.forward([Row(found.ids, full=tuple(range(len(found.ids))))])[0].full
    np.testing.assert_allclose(np.take_along_axis(full, found.top[0], -1), found.logprobs[0], atol=1e-4)


def test_tokens_have_scores_of_a_probe(engine: FakeEngine, kindness: Vector) -> None:
    model = Model(engine)
    for layer in (None, 2):
        scores = model.lens(TEXT, vector=kindness, layer=layer, layers=[5]).scores
        assert scores is not None
        assert scores.layer == (layer or 4)
        expected = model.scores(engine.encode(TEXT), watch(kindness, layer or 4))
        np.testing.assert_allclose(scores.values, expected, rtol=1e-5)


def test_ids_are_read_as_they_are(engine: FakeEngine) -> None:
    model = Model(engine)
    ids = model.ids("Hi")
    found = model.lens(ids)
    assert found.ids.tolist() == ids.tolist()
    assert found.layers == tuple(LAYERS)
    assert found.tokens[:2] == ("<|bos|>", "<|im_start|>")


def test_a_long_text_is_cut_with_a_warning(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logit_lens, "LIMIT", 6)
    with pytest.warns(DataWarning, match=r"longer than 6 tokens, and the lens reads the first 6: `limit` reads more"):
        found = Model(engine).lens(TEXT, layers=[1])
    assert (len(found.ids), found.cut) == (6, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not Model(engine).lens(TEXT, layers=[1], limit=100).cut
        assert Model(engine).lens(TEXT, layers=[1], limit=3).cut  # what was asked for


def test_what_the_context_does_not_hold_is_told(engine: FakeEngine) -> None:
    with pytest.warns(DataWarning, match="the text is longer than 64 tokens, and the lens reads the first 64$"):
        assert len(Model(FakeEngine(context=64)).lens("a" * 100, layers=[1], limit=90).ids) == 64


def test_ties_go_to_the_lowest_id() -> None:
    row = np.array([0, 3, 1, 3, 3, 2], np.float32)
    assert logit_lens._largest(row, 2).tolist() == [1, 3]
    assert logit_lens._largest(row, 6).tolist() == [1, 3, 4, 5, 2, 0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"layers": [6]}, "layer 6 is out of range"),
        ({"layers": []}, "name at least one of the `layers`"),
        ({"top": 0}, "`top` 0 is not between 1 and the vocabulary of 260"),
        ({"limit": 0}, "`limit` 0 leaves no token"),
    ],
)
def test_a_bad_argument_is_one_line(engine: FakeEngine, options: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Model(engine).lens(TEXT, **options)  # type: ignore[arg-type]


def test_a_vector_of_another_model_is_refused(engine: FakeEngine) -> None:
    wide = Vector("wide", Origin("x"), {1: Direction(np.ones(64, np.float32))}, 1)
    with pytest.raises(VectorError, match="has width 64"):
        Model(engine).lens(TEXT, vector=wide)
