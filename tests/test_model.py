"""The model as users know it."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import LoadOptions, Watch
from localprobe.errors import CanaryFailed, UnknownEngine, UsageError
from localprobe.fake import FakeEngine, backend
from localprobe.model import Model


def test_a_model_is_loaded_by_name_and_checked() -> None:
    with Model.load("fake", "fake") as model:
        assert model.info.engine == "fake"
        assert model.pooled(["Hello", "there"], [1]).shape == (2, 1, model.info.width)


def test_a_model_can_live_in_a_child_process() -> None:
    with Model.load("fake", "fake", remote=True) as remote, Model.load("fake", "fake") as local:
        np.testing.assert_array_equal(remote.pooled(["Hello"], [2]), local.pooled(["Hello"], [2]))


def test_a_model_that_fails_its_canary_is_refused_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = FakeEngine(fault="decode unsteered", seed=21)
    closed = []
    monkeypatch.setattr(broken, "close", lambda: closed.append(True))
    monkeypatch.setattr(type(backend), "load", lambda self, weights, options: broken)
    with pytest.raises(CanaryFailed):
        Model.load("fake", "fake")
    assert closed == [True]


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(UnknownEngine, match=r"'vllm'.*llama, mlx, torch"):
        Model.load("fake", "vllm")


def test_options_reach_the_engine() -> None:
    with Model.load("fake", "fake", LoadOptions(context=64)) as model:
        assert model.info.context == 64


def test_layers_may_be_counted_from_the_end(engine: FakeEngine) -> None:
    model = Model(engine)
    assert model.layers([0, -1]) == [0, 5]
    assert model.layers() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match="layer -7 is out of range: fake has layers 0 to 5"):
        model.layers([-7])


def test_a_prompt_goes_through_the_template_unless_raw(engine: FakeEngine) -> None:
    model = Model(engine)
    assert engine.decode(model.ids("Hi", system="Be kind.")) == "system\nBe kind.\nuser\nHi\nassistant\n"
    assert engine.decode(model.ids("Hi", raw=True)) == "Hi"
    with pytest.raises(UsageError, match="the prompt is empty"):
        model.ids(" ")


def test_scores_are_projections_of_every_token(engine: FakeEngine) -> None:
    v = np.random.default_rng(0).standard_normal(engine.info.width).astype(np.float32)
    ids = engine.encode("Hello")
    scores = Model(engine).scores(ids, Watch(3, v))
    captured = next(Model(engine).capture(["Hello"], [3], "tokens")).residuals[0]
    np.testing.assert_allclose(scores, captured @ v, rtol=1e-5)
