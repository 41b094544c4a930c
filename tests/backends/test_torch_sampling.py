"""Sampling on the device draws what the reference draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.engine import Sampler
from localprobe.sampling import sample
from localprobe_torch.sampling import BatchSampler

SAMPLERS = st.builds(
    Sampler,
    temperature=st.sampled_from([0.0, 0.01, 0.7, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 3, 40, 1000]),
    top_p=st.sampled_from([0.01, 0.5, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
)


def draw(logits: np.ndarray, samplers: list[Sampler], uniforms: np.ndarray) -> tuple[list[int], np.ndarray]:
    ids, logprobs = BatchSampler(samplers, torch.device("cpu")).draw(torch.from_numpy(logits), uniforms)
    return ids.tolist(), logprobs.numpy()


@settings(deadline=None, max_examples=150)
@given(st.lists(SAMPLERS, min_size=1, max_size=5), st.integers(0, 2**32 - 1), st.booleans())
def test_a_batch_draws_what_the_reference_draws(samplers: list[Sampler], seed: int, tied: bool) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (len(samplers), 97)).astype(np.float32)
    if tied:
        logits = np.round(logits)  # many tokens are alike: the cuts must keep the lower ids
    uniforms = random.random(len(samplers))
    expected, expected_logprobs = sample(logits, samplers, uniforms)
    ids, logprobs = draw(logits, samplers, uniforms)
    assert ids == expected.tolist()
    np.testing.assert_allclose(logprobs, expected_logprobs, atol=1e-5)


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1, 0)])
def test_the_ends_of_the_distribution_draw_tokens_that_were_not_cut(uniform: float) -> None:
    logits = np.array([[-9, 2, 1, 2, -9]], np.float32)
    ids, _ = draw(logits, [Sampler(temperature=1, top_k=2)], np.array([uniform]))
    assert ids == [1 if uniform == 0 else 3]


def test_broken_logits_do_not_leave_the_vocabulary() -> None:
    ids, _ = draw(np.full((1, 5), np.nan, np.float32), [Sampler(1.0)], np.array([0.5]))
    assert 0 <= ids[0] < 5


def test_rows_keep_their_samplers_when_others_leave() -> None:
    sampler = BatchSampler([Sampler(0), Sampler(1.0, top_k=1), Sampler(2.0)], torch.device("cpu")).take([2, 0])
    assert sampler.samplers == [Sampler(2.0), Sampler(0)]
