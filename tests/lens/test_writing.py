"""What directions write to the logits."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import FloatArray
from localprobe.errors import VectorError
from localprobe.fake import FakeEngine
from localprobe.lens.writing import effects, written
from localprobe.vectors.vector import Direction, Origin, Vector


def directions(count: int, length: float = 1.0) -> list[FloatArray]:
    rows = np.random.default_rng(1).standard_normal((count, 32))
    return [np.asarray(length * row / np.linalg.norm(row), np.float32) for row in rows]


def test_an_effect_is_the_unembedding_of_the_normed_direction_centred(engine: FakeEngine) -> None:
    """The fake model's norm is an RMSNorm without weights, and its head 1.6 times the embedding."""
    head = 1.6 * engine._model.embedding.astype(np.float64)  # (vocabulary, width)
    for direction, effect in zip(directions(3), effects(engine, directions(3)), strict=True):
        logits = head @ (direction / np.sqrt(np.square(direction.astype(np.float64)).mean()))
        np.testing.assert_allclose(effect, logits - logits.mean(), atol=1e-4)


def test_the_length_of_a_direction_does_not_matter(engine: FakeEngine) -> None:
    for effect, longer in zip(effects(engine, directions(2)), effects(engine, directions(2, 70.0)), strict=True):
        np.testing.assert_allclose(effect, longer, atol=1e-4)


def test_a_bias_of_the_head_is_no_part_of_an_effect(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    plain = effects(engine, directions(1))[0]
    logits, bias = engine._model.logits, np.linspace(-3, 3, engine.info.vocabulary, dtype=np.float32)
    monkeypatch.setattr(engine._model, "logits", lambda hidden: logits(hidden) + bias)
    np.testing.assert_allclose(effects(engine, directions(1))[0], plain, atol=1e-4)


def test_the_tokens_most_raised_and_lowered(engine: FakeEngine) -> None:
    rows = {b: Direction(row) for b, row in zip((1, 4), directions(2), strict=True)}
    found = written(engine, Vector("kindness", Origin("fake"), rows, 4), count=3)
    assert sorted(found) == [1, 4]
    for effect, words in zip(effects(engine, directions(2)), (found[1], found[4]), strict=True):
        ordered = np.sort(effect)
        assert [token.logits for token in words.raises] == pytest.approx(ordered[:-4:-1].tolist())
        assert [token.logits for token in words.lowers] == pytest.approx(ordered[:3].tolist())
        best = words.raises[0]
        assert effect[best.id] == pytest.approx(best.logits)


def test_a_vector_of_another_width_is_refused(engine: FakeEngine) -> None:
    with pytest.raises(VectorError, match="'wide' has width 64, but fake has 32"):
        written(engine, Vector("wide", Origin("x"), {1: Direction(np.ones(64, np.float32))}, 1))
