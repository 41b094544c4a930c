"""Sampling on the device follows the numpy reference."""

from __future__ import annotations

import os

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")

import mlx.core as mx

from localprobe.engine import FloatArray, Sampler
from localprobe.sampling import log_softmax, sample
from localprobe_mlx.sampling import BatchSampler

pytestmark = pytest.mark.mlx

SAMPLERS = [
    Sampler(temperature=0),
    Sampler(temperature=1.0),
    Sampler(temperature=0.3),
    Sampler(temperature=2.0, top_k=1),
    Sampler(temperature=2.0, top_k=40),
    Sampler(temperature=1.0, top_p=0.9),
    Sampler(temperature=1.0, top_p=1e-9),
    Sampler(temperature=1.0, min_p=0.1),
    Sampler(temperature=1.5, top_k=50, top_p=0.8, min_p=0.02),
    Sampler(temperature=0.7, top_k=100_000),
]


def logits(rows: int, vocabulary: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(scale=3, size=(rows, vocabulary)).astype(np.float32)


def draw(samplers: list[Sampler], table: FloatArray, uniforms: FloatArray) -> tuple[list[int], FloatArray]:
    ids, logprobs = BatchSampler(samplers)(mx.array(table), uniforms)
    assert ids.dtype == mx.int32
    return ids.tolist(), np.array(logprobs)


@pytest.mark.parametrize("vocabulary", [3, 256, 257, 5000, 49152])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_draws_are_those_of_the_reference(sampler: Sampler, vocabulary: int) -> None:
    table = logits(24, vocabulary)
    uniforms = np.random.default_rng(1).random(24)
    ids, logprobs = draw([sampler] * 24, table, uniforms)
    expected, expected_logprobs = sample(table, [sampler] * 24, uniforms)
    differ = [row for row in range(24) if ids[row] != expected[row]]
    # Only a uniform that lies on the boundary of two tokens, to float32's rounding, may fall to the other.
    for row in differ:
        around = np.clip([uniforms[row] - 1e-6, uniforms[row] + 1e-6], 0, 1 - 1e-16)
        assert ids[row] in sample(table[[row, row]], [sampler] * 2, around)[0]
    assert len(differ) <= 1
    same = [row for row in range(24) if row not in differ]
    np.testing.assert_allclose(logprobs[same], expected_logprobs[same], atol=2e-4)


def test_every_row_has_its_own_sampler() -> None:
    table = logits(len(SAMPLERS), 1000)
    uniforms = np.linspace(0.05, 0.95, len(SAMPLERS))
    together, _ = draw(SAMPLERS, table, uniforms)
    alone = [draw([s], table[[row]], uniforms[[row]])[0][0] for row, s in enumerate(SAMPLERS)]
    assert together == alone == sample(table, SAMPLERS, uniforms)[0].tolist()


def test_log_probabilities_are_of_temperature_1_with_nothing_cut() -> None:
    table = logits(2, 100)
    ids, logprobs = draw([Sampler(temperature=0.2, top_k=3)] * 2, table, np.array([0.1, 0.9]))
    np.testing.assert_allclose(logprobs, log_softmax(table)[[0, 1], ids], atol=1e-5)


def test_the_lower_end_of_the_unit_interval_gives_the_first_token_that_is_left() -> None:
    table = logits(1, 1000)
    for sampler in SAMPLERS[1:]:
        assert draw([sampler], table, np.zeros(1))[0] == sample(table, [sampler], np.zeros(1))[0].tolist()


def test_the_upper_end_gives_a_token_that_is_left() -> None:
    table = logits(1, 1000)
    for sampler in SAMPLERS[1:]:
        (token,), _ = draw([sampler], table, np.array([1 - 2**-53]))
        # float32 cannot tell the last 6e-8 of the interval apart, but must not leave it.
        low, high = sample(table[[0, 0]], [sampler] * 2, np.array([1 - 2e-7, 1 - 2**-53]))[0]
        assert low <= token <= high


@pytest.mark.parametrize("sampler", [Sampler(1.0, top_k=2), Sampler(1.0, top_p=0.5)], ids=str)
def test_ties_go_to_lower_ids(sampler: Sampler) -> None:
    table = np.zeros((50, 4), np.float32)
    ids, _ = draw([sampler] * 50, table, np.linspace(0, 0.999, 50))
    assert set(ids) == {0, 1}


def test_frequencies_are_the_probabilities() -> None:
    table = np.log(np.array([[0.5, 0.2, 0.2, 0.1]], np.float32)).repeat(4000, axis=0)
    ids, _ = draw([Sampler(1.0)] * 4000, table, np.random.default_rng(0).random(4000))
    np.testing.assert_allclose(np.bincount(ids, minlength=4) / 4000, [0.5, 0.2, 0.2, 0.1], atol=0.03)
