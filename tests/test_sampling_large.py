"""The sampler on vocabularies of a real size, where it takes ways round sorting and summing everything."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from localprobe.engine import FloatArray, Sampler
from localprobe.sampling import sample


def drawn_by_definition(logits: FloatArray, sampler: Sampler, uniform: float) -> int:
    """Sort everything, sum everything."""
    weights = np.exp((logits - logits.max()) / np.float32(sampler.temperature))
    order = np.argsort(-weights, kind="stable")  # ties go to lower ids
    if sampler.top_k:
        order = order[: sampler.top_k]
    below = np.cumsum(weights[order], dtype=np.float64)
    order = order[: int(np.searchsorted(below, sampler.top_p * below[-1])) + 1]
    order = order[weights[order] >= sampler.min_p * weights[order[0]]]
    kept = np.zeros(len(weights))
    kept[order] = weights[order]
    ends = np.cumsum(kept)
    return int(np.searchsorted(ends, uniform * ends[-1], side="right"))


@pytest.mark.parametrize("vocabulary", [255, 256, 257, 5000, 49152])
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0], ids=["flat", "usual", "sharp"])
@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "ties"])
def test_every_cut_draws_what_the_definition_does(vocabulary: int, spread: float, rounded: bool) -> None:
    rng = np.random.default_rng(vocabulary)
    samplers = [
        Sampler(1.0),
        Sampler(0.6),
        Sampler(1.0, top_k=40),
        Sampler(2.0, top_k=vocabulary + 1),
        Sampler(1.0, top_p=0.9),
        Sampler(2.0, top_p=0.999),
        Sampler(1.0, min_p=0.05),
        Sampler(1.5, top_k=300, top_p=0.8, min_p=0.01),
    ]
    logits = (rng.normal(size=(len(samplers), vocabulary)) * spread).astype(np.float32)
    if rounded:
        logits = np.asarray(np.round(logits * 2) / 2, np.float32)
    uniform = rng.random(len(samplers))
    ids, logprobs = sample(logits, samplers, uniform)
    expected = [drawn_by_definition(*each) for each in zip(logits, samplers, uniform.tolist(), strict=True)]
    assert ids.tolist() == expected
    exact = logits.astype(np.float64)
    norm = np.log(np.exp(exact).sum(axis=-1))
    np.testing.assert_allclose(logprobs, exact[np.arange(len(ids)), ids] - norm, atol=1e-4)


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1, 0)])
def test_a_token_without_weight_is_never_drawn(uniform: float) -> None:
    logits = np.full((1, 5000), -np.inf, np.float32)
    logits[0, [300, 4000]] = 0
    (token,), _ = sample(logits, [Sampler(1.0)], np.array([uniform]))
    assert token == (300 if uniform < 0.5 else 4000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_give_none_and_leave_other_rows_alone(bad: float) -> None:
    logits: NDArray[np.float32] = np.zeros((2, 50), np.float32)
    logits[1, 7] = bad
    ids, logprobs = sample(logits, [Sampler(1.0)] * 2, np.array([0.5, 0.5]))
    assert ids.tolist() == [25, 0]
    np.testing.assert_allclose(logprobs, [-np.log(50), np.nan], rtol=1e-6)
