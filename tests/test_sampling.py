"""Uniforms that depend on key and number alone, and a sampler that is checked against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localprobe.engine import Sampler
from localprobe.sampling import log_softmax, most_likely, sample, uniforms

LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.3, 0.15], np.float32))
ALMOST_ONE = np.nextafter(1, 0)


@given(start=st.integers(0, 200), count=st.integers(0, 50))
def test_number_i_depends_on_the_key_and_i_alone(start: int, count: int) -> None:
    np.testing.assert_array_equal(uniforms("cell", start, count), uniforms("cell", 0, 250)[start : start + count])


def test_keys_name_unrelated_streams() -> None:
    first, second = uniforms("cell 1", 0, 4000), uniforms("cell 2", 0, 4000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert first.min() >= 0
    assert first.max() < 1
    assert np.histogram(first, 10, (0, 1))[0].min() > 300


def test_uniforms_are_the_same_on_every_machine() -> None:
    expected = [0.9958248769052559, 0.546059562506816, 0.4190529685012577, 0.30645278798564946]
    assert uniforms("localprobe", 0, 4).tolist() == expected


def test_log_softmax_is_normalised_and_safe_at_large_logits() -> None:
    logprobs = log_softmax(np.array([[1000.0, 999.0], [-1000.0, -1000.0]], np.float32))
    assert logprobs.dtype == np.float32
    np.testing.assert_allclose(logprobs, [[-0.3132617, -1.3132617], [-math.log(2), -math.log(2)]], rtol=1e-6)


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.5001, 2), (0.56, 3), (0.99, 4)])
def test_a_uniform_picks_the_token_whose_share_of_the_cdf_it_falls_in(uniform: float, token: int) -> None:
    assert drawn(Sampler(temperature=1), uniform) == token


def test_temperature_zero_takes_the_most_likely_and_among_equals_the_first() -> None:
    assert drawn(Sampler(temperature=0), 0.99) == 1
    ids, _ = sample(np.array([[0.0, 2.0, 2.0]], np.float32), [Sampler(temperature=0)], np.array([0.9]))
    assert ids.tolist() == [1]


@pytest.mark.parametrize(
    ("sampler", "kept"),
    [
        (Sampler(1, top_k=1), {1}),
        (Sampler(1, top_k=3), {1, 3, 4}),
        (Sampler(1, top_k=99), {0, 1, 2, 3, 4}),
        (Sampler(1, top_p=0.39), {1}),
        (Sampler(1, top_p=0.41), {1, 3}),
        (Sampler(1, top_p=0.9), {0, 1, 3, 4}),
        (Sampler(1, min_p=0.3), {1, 3, 4}),
        (Sampler(1, min_p=1.0), {1}),
        (Sampler(1, top_k=3, top_p=0.8), {1, 3}),  # top-p works on what top-k left: 0.7 / 0.85 reaches 0.8
        (Sampler(0.5, top_p=0.6), {1, 3}),  # cuts come after temperature: 0.16 / 0.285 < 0.6 < 0.25 / 0.285
        (Sampler(0.5, min_p=0.3), {1, 3}),
    ],
    ids=str,
)
def test_cuts_keep_the_tokens_of_their_definition(sampler: Sampler, kept: set[int]) -> None:
    grid = np.linspace(0, ALMOST_ONE, 2001)
    ids, _ = sample(np.tile(LOGITS, (len(grid), 1)), [sampler] * len(grid), grid)
    assert set(ids.tolist()) == kept


def test_frequencies_are_the_probabilities() -> None:
    grid = (np.arange(10_000) + 0.5) / 10_000
    ids, _ = sample(np.tile(LOGITS, (len(grid), 1)), [Sampler(0.7)] * len(grid), grid)
    expected = np.exp(LOGITS / 0.7) / np.exp(LOGITS / 0.7).sum()
    np.testing.assert_allclose(np.bincount(ids) / 10_000, expected, atol=2e-4)


def test_logprobs_are_at_temperature_one_with_nothing_cut() -> None:
    ids, logprobs = sample(LOGITS[None] + 7, [Sampler(0.2, top_k=1)], np.array([0.5]))
    assert ids.dtype == np.int32
    assert logprobs.dtype == np.float32
    assert logprobs[0] == pytest.approx(math.log(0.4), abs=1e-6)


def test_rows_have_their_own_samplers_and_uniforms() -> None:
    samplers = [Sampler(0), Sampler(1), Sampler(1, top_k=1), Sampler(1)]
    ids, _ = sample(np.tile(LOGITS, (4, 1)), samplers, np.array([0.99, 0.0, 0.0, 0.99]))
    assert ids.tolist() == [1, 0, 1, 4]


@given(
    logits=st.lists(st.integers(-40, 40), min_size=1, max_size=30),
    temperature=st.sampled_from([0.1, 0.5, 1.0, 2.0]),
    top_k=st.integers(0, 8),
    top_p=st.sampled_from([0.03, 0.37, 0.77, 0.96, 1.0]),
    min_p=st.sampled_from([0.0, 0.013, 0.17, 0.51]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_the_definition_in_plain_python_agrees(
    logits: list[int], temperature: float, top_k: int, top_p: float, min_p: float, uniform: float
) -> None:
    scaled = np.array(logits, np.float32) / 4
    sampler = Sampler(temperature, top_k, top_p, min_p)
    ids, _ = sample(scaled[None], [sampler], np.array([uniform]))
    probabilities = by_definition(scaled.tolist(), sampler)
    below = sum(probabilities[: ids[0]])
    assert probabilities[ids[0]] > 0
    assert below - 1e-5 <= uniform <= below + probabilities[ids[0]] + 1e-5


def by_definition(logits: list[float], sampler: Sampler) -> list[float]:
    """Probabilities after temperature and all cuts, each renormalised, ties to lower ids."""
    shares = {token: math.exp((logit - max(logits)) / sampler.temperature) for token, logit in enumerate(logits)}
    likely = sorted(shares, key=lambda token: (-shares[token], token))
    if sampler.top_k:
        likely = likely[: sampler.top_k]
    total, reached, nucleus = sum(shares[token] for token in likely), 0.0, []
    for token in likely:
        if sampler.top_p < 1 and reached >= sampler.top_p:  # 1 keeps all, also where rounding reaches it early
            break
        nucleus.append(token)
        reached += shares[token] / total
    left = [token for token in nucleus if shares[token] >= sampler.min_p * shares[nucleus[0]]]
    total = sum(shares[token] for token in left)
    return [shares[token] / total if token in left else 0.0 for token in range(len(logits))]


def drawn(sampler: Sampler, uniform: float) -> int:
    return int(sample(LOGITS[None], [sampler], np.array([uniform]))[0][0])


def test_the_most_likely_tokens_are_listed_with_their_log_probabilities() -> None:
    logits = np.array([[0.0, 2.0, 1.0, 2.0], [5.0, -1.0, 0.0, 1.0]], np.float32)
    top = most_likely(logits, 3)
    assert top.ids.tolist() == [[1, 3, 2], [0, 3, 2]]
    np.testing.assert_allclose(top.logprobs, np.take_along_axis(log_softmax(logits), top.ids, 1), rtol=1e-6)
    assert most_likely(logits, 9).ids.shape == (2, 4)
