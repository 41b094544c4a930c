"""SmolLM2-135M on each engine, many random requests at once: no steering reaches the tokens of another request.

An answer is held against one forward pass over its prompt and its text, under its own steering and in a batch of its
own. That is stricter than to compare texts, and fair where rounding turns a near-tie: log-probabilities, scores, the
draws of the sampler, and when gates and alarms changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from localprobe.engine import Engine, FloatArray, Row, Steering, Term, Watch
from localprobe.generation.answer import Answer
from localprobe.generation.decode import Request
from localprobe.generation.gates import without_added
from localprobe.model import Model
from localprobe.sampling import sample, uniforms
from localprobe.scheduling.job import Limits, Prepared
from localprobe.scheduling.scheduler import Scheduler
from localprobe.steering.gates import GatedTerm, TokenGate, gates_of
from tests.scheduling.random_jobs import RandomJobs, arrive

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Rounding:
    """How far an engine's results may be from those of one pass."""

    logprob: float
    score: float
    """Scores are of the order of 1."""
    mass: float
    """Of the probability that lies before a token, which decides whether a number draws it."""


EXACT = Rounding(logprob=5e-4, score=1e-4, mass=1e-3)
COARSE = Rounding(logprob=0.7, score=0.1, mass=0.1)
"""llama.cpp rounds activations to 8 bits, by the shape of the batch."""


@pytest.mark.parametrize(
    ("engine", "count", "tokens", "rounding"),
    [("torch", 64, 16, EXACT), ("mlx", 24, 12, EXACT), ("llama", 24, 12, COARSE)],
)
def test_no_request_reaches_the_tokens_of_another(
    request: pytest.FixtureRequest, engine: str, count: int, tokens: int, rounding: Rounding
) -> None:
    model: Model = request.getfixturevalue(f"{engine}_model")
    drawn = RandomJobs(model.engine, model.scale, tokens)
    jobs = [drawn.draw() for _ in range(count)]
    scheduler = Scheduler(model.engine, Limits(rows=5, tokens=700, prefixes=3, piece=24))
    try:
        heard, cancelled = arrive(scheduler, jobs)
        answers = {at: heard[at].answers()[0] for at in range(count) if at not in cancelled}
        stats = scheduler.stats
    finally:
        scheduler.close()
    assert stats.reused_tokens > 0
    assert (stats.rows, stats.waiting, stats.failed) == (0, 0, 0)
    assert stats.rows_stepped / stats.steps > 2, "they were answered together"
    assert stats.gates > 0
    for at, answer in answers.items():
        check(model.engine, jobs[at], answer, rounding)


def check(engine: Engine, wanted: Prepared, answer: Answer, rounding: Rounding) -> None:
    """Assert that an answer is that of its own request, but for rounding."""
    if not len(answer):
        return
    request, first = wanted.request, len(wanted.request.ids)
    ids = np.concatenate([request.ids, answer.ids])
    steering = applied(request.steering, answer, first)
    before = tuple(range(first - 1, len(ids) - 1))  # the positions that predict the answer's tokens
    layers = list(range(engine.info.layers))
    (found,) = engine.forward([Row(ids, steering, full=before)], layers)
    scores = found.residuals[:, first:]

    expected = found.full[np.arange(len(answer)), answer.ids]
    np.testing.assert_allclose(answer.logprobs, expected, atol=rounding.logprob)
    for watch, told in zip(wanted.watch, answer.projections.T, strict=True):
        np.testing.assert_allclose(told, scores[watch.layer] @ watch.vector, atol=rounding.score, rtol=rounding.score)
    check_gates(wanted, answer, steering, scores, rounding.score)
    check_draws(request, answer, found.full, rounding)


def check_draws(request: Request, answer: Answer, logprobs: FloatArray, rounding: Rounding) -> None:
    """Assert that the request's own sampler and numbers draw its tokens from log-probabilities (tokens, vocabulary)."""
    if request.sampler.temperature == 0:
        best = logprobs.max(axis=1)
        np.testing.assert_array_less(best - logprobs[np.arange(len(answer)), answer.ids], 2 * rounding.logprob)
        return
    numbers = uniforms(request.key, 0, len(answer))
    samplers = [request.sampler] * len(answer)  # a larger number never draws a lower id
    lowest, highest = (
        sample(logprobs, samplers, np.clip(numbers + by, 0, 1 - 1e-9))[0] for by in (-rounding.mass, rounding.mass)
    )
    assert (lowest <= answer.ids).all(), (lowest, answer.ids)
    assert (answer.ids <= highest).all(), (answer.ids, highest)


def applied(steering: Steering, answer: Answer, first: int) -> Steering:
    """The terms that acted, gated ones while their gate was open. `first` is where the answer begins."""
    terms: list[Term] = []
    for term in steering:
        if not isinstance(term, GatedTerm):
            terms.append(term)
            continue
        (gate,) = term.gates
        turns = [first + change.index for change in answer.gates if change.gate == gate.name]
        for begin, end in zip(turns[::2], [*turns[1::2], None], strict=False):  # it is closed when the answer begins
            start = max(term.start, begin)
            stop = min((edge for edge in (term.stop, end) if edge is not None), default=None)
            if stop is None or start < stop:
                terms.append(replace(term.plain, start=start, stop=stop))
    return tuple(terms)


def check_gates(wanted: Prepared, answer: Answer, steering: Steering, residuals: FloatArray, near: float) -> None:
    """Assert that gates and alarms changed at the tokens where scores of `residuals` (layers, tokens, width) say so;
    where a score is as `near` to its threshold as rounding may move it, either is right."""
    first = len(wanted.request.ids)
    for gate in gates_of(wanted.request.steering).values():
        assert isinstance(gate, TokenGate)
        state, turns = False, [change.index for change in answer.gates if change.gate == gate.name]
        for index, score in enumerate(judged(gate.watch, steering, residuals, first)):
            told = state != (index + 1 in turns)
            margin = min(abs(score - gate.opens), abs(score - gate.closes))
            assert told == gate.next(state, score) or margin < near * (1 + abs(score)), (gate, index, score)
            state = told
    for alarm in wanted.alarms:
        told_at = [alert.index for alert in answer.alerts]
        for index, score in enumerate(judged(alarm.watch, steering, residuals, first)):
            sure = abs(score - alarm.threshold) > near * (1 + abs(score))
            assert (index in told_at) == alarm.fires(score) or not sure, (alarm, index, score)


def judged(watch: Watch, steering: Steering, residuals: FloatArray, first: int) -> list[float]:
    """What gates and alarms see of each token: its score without what additions contribute directly."""
    scores = residuals[watch.layer] @ watch.vector
    return [
        without_added(score[None], [watch], steering, first + index)[watch.content]
        for index, score in enumerate(scores)
    ]
