"""The paper's probe."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.errors import DataError
from localprobe.probing.mean_difference import fit


def planted(pairs: int = 200, layers: int = 3, width: int = 16, strength: float = 2.0):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(0)
    direction = random.standard_normal((layers, width))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    noise = random.standard_normal((2, pairs, layers, width))
    return (noise[0] + strength * direction).astype(np.float32), noise[1].astype(np.float32), direction


def test_a_planted_direction_is_recovered() -> None:
    positive, negative, direction = planted()
    probe = fit(positive, negative)
    assert ((probe.directions * direction).sum(axis=-1) > 0.95).all()
    np.testing.assert_allclose(np.linalg.norm(probe.directions, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(probe.norms, 2.0, atol=0.4)


def test_equation_1_on_numbers_that_can_be_done_by_hand() -> None:
    positive = np.array([[[3.0, 4.0]], [[3.0, 4.0]]], np.float32)
    negative = np.zeros((1, 1, 2), np.float32)
    probe = fit(positive, negative)
    np.testing.assert_allclose(probe.directions, [[0.6, 0.8]], rtol=1e-6)
    assert probe.norms[0] == pytest.approx(5.0)
    assert probe.thresholds[0] == pytest.approx(2.5)
    np.testing.assert_allclose(probe.scores(positive), [[5.0], [5.0]])


def test_an_empty_pole_is_refused() -> None:
    with pytest.raises(DataError, match="one pole has no texts"):
        fit(np.ones((0, 1, 2), np.float32), np.ones((3, 1, 2), np.float32))


def test_poles_with_the_same_mean_are_refused() -> None:
    with pytest.raises(DataError, match="same mean residual"):
        fit(np.ones((2, 1, 2), np.float32), np.ones((2, 1, 2), np.float32))
