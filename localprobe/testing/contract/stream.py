"""How streams are checked: every row must equal one forward pass over its prompt and answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import Engine, FloatArray, IntArray, Prompt, Row, Sampler, Steering, Stream, Watch
from localprobe.sampling import sample
from localprobe.testing.contract.base import (
    ContractBase,
    middle,
    one,
    random_uniforms,
    unit,
)

GREEDY = Sampler(temperature=0)
PLAIN = Sampler(temperature=1.0)
SAMPLERS = {
    "greedy": GREEDY,
    "temperature": Sampler(temperature=0.6),
    "top_k": Sampler(temperature=1.2, top_k=5),
    "top_p": Sampler(temperature=1.0, top_p=0.8),
    "min_p": Sampler(temperature=1.0, min_p=0.2),
    "all_cuts": Sampler(temperature=1.5, top_k=20, top_p=0.9, min_p=0.05),
}


@dataclass(frozen=True)
class Play:
    """The output of a stream, with scores aligned to their tokens."""

    ids: IntArray  # (steps, rows)
    logprobs: FloatArray  # (steps, rows)
    scores: FloatArray  # (steps, rows, watches)
    uniforms: NDArray[np.float64]  # (steps, rows)


def play(stream: Stream, steps: int, rows: int, seed: int = 0, *, fresh: bool = True) -> Play:
    """Decode `steps` tokens per row and settle; `fresh` if the stream has made no step yet."""
    uniforms = random_uniforms(seed, steps, rows)
    played = [stream.step(uniforms[number]) for number in range(steps)]
    for step in played:
        assert step.ids.shape == step.logprobs.shape == (rows,)
        assert step.ids.dtype == np.int32
        assert step.logprobs.dtype == step.scores.dtype == np.float32
    assert not fresh or np.isnan(played[0].scores).all(), "no token has been run at the first step"
    late = [*(step.scores for step in played[1:]), stream.settle()]
    return Play(
        ids=np.stack([step.ids for step in played]),
        logprobs=np.stack([step.logprobs for step in played]),
        scores=np.stack(late),
        uniforms=uniforms,
    )


class StreamChecks(ContractBase):
    """The check that every test of a stream ends with."""

    def agrees(
        self,
        engine: Engine,
        prompt: Prompt,
        played: Play,
        row: int,
        watch: Sequence[Watch] = (),
        *,
        steering: Steering | None = None,
    ) -> None:
        """Assert that a decoded row agrees with one pass over prompt + answer, under `steering` if given, else the
        prompt's.

        Log-probabilities, scores and sampled tokens must all agree with that pass.
        """
        answer = played.ids[:, row]
        ids = np.concatenate([prompt.ids, answer])
        first = len(prompt.ids) - 1  # the position that predicts the first token of the answer
        places = tuple(range(first, first + len(answer)))
        whole = Row(ids, prompt.steering if steering is None else steering, full=places)
        layers = sorted({watched.layer for watched in watch})
        output = one(engine, whole, layers)

        expected = output.full[np.arange(len(answer)), answer]
        self.close_logprobs(engine, played.logprobs[:, row], expected)
        for place, token in enumerate(answer.tolist()):
            self._could_be_drawn(engine, output.full[place], prompt.sampler, played.uniforms[place, row], token)
        for number, watched in enumerate(watch):
            residuals = output.residuals[layers.index(watched.layer), first + 1 :]
            self.close_scores(engine, played.scores[:, row, number], residuals, watched.vector)

    def _could_be_drawn(
        self, engine: Engine, logprobs: FloatArray, sampler: Sampler, uniform: float, token: int
    ) -> None:
        """Assert that the reference sampler draws `token`, possibly with `uniform` shifted within the tolerance."""
        within = self.within(engine)
        if sampler.temperature == 0:
            assert logprobs[token] >= logprobs.max() - within.logprob
            return
        around = np.clip([uniform - within.uniform, uniform, uniform + within.uniform], 0, np.nextafter(1, 0))
        # The CDF runs over ids, so a shift of the uniform moves the token up or down.
        low, _, high = sample(np.stack([logprobs] * 3), [sampler] * 3, around)[0].tolist()
        assert low <= token <= high

    def watches(self, engine: Engine) -> list[Watch]:
        """Projections at the bottom, in the middle twice, and at the top."""
        layers = (0, middle(engine), middle(engine), engine.info.layers - 1)
        return [Watch(layer, unit(engine, seed)) for seed, layer in enumerate(layers)]
