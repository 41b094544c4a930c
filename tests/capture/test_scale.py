"""The scale that doses are measured in."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.capture import scale
from localprobe.capture.residuals import capture
from localprobe.contrast.pairs import TEXT_SETS, read_texts
from localprobe.engine import IntArray, Row
from localprobe.fake import FakeEngine


def test_the_scale_is_the_median_length_of_residuals_after_the_first_token(engine: FakeEngine) -> None:
    found, _ = scale.measure(engine)
    assert found.shape == (engine.info.layers,)
    rows = [Row(engine.encode(text)[: engine.info.context]) for text in read_texts(TEXT_SETS.path("neutral"))[:16]]
    lengths = [np.linalg.norm(o.residuals[0, 1:], axis=-1) for o in engine.forward(rows, [2])]
    assert found[2] == pytest.approx(np.median(np.concatenate(lengths)), rel=1e-5)


def test_the_scale_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(seed=11)
    first = scale.residual_scale(engine)
    monkeypatch.setattr(scale, "measure", lambda engine: pytest.fail("it was measured again"))
    np.testing.assert_array_equal(scale.residual_scale(engine), first)


class OtherTokens(FakeEngine):
    """The same weights, with another tokenizer."""

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        return super().encode(text.upper(), template=template)


@pytest.mark.parametrize("other", [OtherTokens(), FakeEngine(context=40)])
def test_other_tokens_of_the_texts_have_their_own_scale(other: FakeEngine) -> None:
    usual = FakeEngine()
    kept = scale.residual_scale(usual)
    assert other.info.weights == usual.info.weights
    np.testing.assert_array_equal(scale.residual_scale(other), scale.measure(other)[0])
    assert not np.array_equal(scale.residual_scale(other), kept)
    np.testing.assert_array_equal(scale.residual_scale(usual), kept)


def test_the_mean_is_over_the_same_tokens_and_measured_with_the_scale(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = scale.measure(engine)
    scale.residual_scale(engine)
    monkeypatch.setattr(scale, "measure", lambda engine: pytest.fail("it was measured with the scale"))
    np.testing.assert_array_equal(scale.residual_mean(engine), expected)
    tokens = [captured.residuals[:, 1:] for captured in capture(engine, scale.texts(), range(6), "tokens", limit=512)]
    np.testing.assert_allclose(expected, np.concatenate(tokens, axis=1).mean(axis=1), rtol=1e-4, atol=1e-6)
