"""Decoding with a KV cache. Every row of a stream must equal one forward pass over its prompt and answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from localprobe.engine import Engine, FloatArray, IntArray, Prompt, Row, Sampler, Steering, Stream, Term, Watch
from localprobe.errors import LocalprobeError
from localprobe.sampling import sample
from localprobe.testing.contract.base import (
    ContractBase,
    everywhere,
    middle,
    one,
    random_uniforms,
    strong_delta,
    text_ids,
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
    """What a stream gave. Scores are those of the tokens in the same place, no longer late."""

    ids: IntArray  # (steps, rows)
    logprobs: FloatArray  # (steps, rows)
    scores: FloatArray  # (steps, rows, watches)
    uniforms: NDArray[np.float64]  # (steps, rows)


def play(stream: Stream, steps: int, rows: int, seed: int = 0, *, fresh: bool = True) -> Play:
    """Decode `steps` tokens a row and settle; `fresh` if the stream's first step has not been made."""
    uniforms = random_uniforms(seed, steps, rows)
    played = [stream.step(uniforms[number]) for number in range(steps)]
    for step in played:
        assert step.ids.shape == step.logprobs.shape == (rows,)
        assert (step.ids.dtype, step.logprobs.dtype, step.scores.dtype) == (np.int32, np.float32, np.float32)
    assert not fresh or np.isnan(played[0].scores).all(), "no token has been run at the first step"
    late = [*(step.scores for step in played[1:]), stream.settle()]
    return Play(
        ids=np.stack([step.ids for step in played]),
        logprobs=np.stack([step.logprobs for step in played]),
        scores=np.stack(late),
        uniforms=uniforms,
    )


class StreamChecks(ContractBase):
    """The one check that every test of a stream ends in."""

    def agrees(
        self,
        engine: Engine,
        prompt: Prompt,
        played: Play,
        row: int,
        watch: Sequence[Watch] = (),
        steering: Steering | None = None,
    ) -> None:
        """Assert that a played row is what one pass over prompt + answer gives, under `steering` if not the prompt's.

        Log-probabilities, scores and the tokens drawn must all follow from that pass.
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
        """Assert that the reference sampler draws `token`, or would after a shift within the tolerance."""
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


class DecodingContract(StreamChecks):
    """`open` and the stream's verbs, without reuse."""

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_sampled_tokens_follow_the_reference(self, engine: Engine, name: str) -> None:
        prompt = Prompt(text_ids(engine, 0, 9), sampler=SAMPLERS[name])
        stream = engine.open([prompt], room=12)
        self.agrees(engine, prompt, play(stream, 12, 1, seed=1), 0)
        stream.close()

    def test_rows_of_other_lengths_samplers_and_uniforms(self, engine: Engine) -> None:
        prompts = [
            Prompt(text_ids(engine, number, length), sampler=sampler)
            for number, (length, sampler) in enumerate([(9, PLAIN), (2, GREEDY), (6, SAMPLERS["all_cuts"]), (1, PLAIN)])
        ]
        stream = engine.open(prompts, room=8, watch=self.watches(engine))
        played = play(stream, 8, 4, seed=2)
        for row, prompt in enumerate(prompts):
            self.agrees(engine, prompt, played, row, self.watches(engine))
        stream.close()

    def test_scores_are_projections_of_prompt_and_answer(self, engine: Engine) -> None:
        watch = self.watches(engine)
        prompt = Prompt(text_ids(engine, 1, 7), steering=everywhere(engine), sampler=PLAIN)
        stream = engine.open([prompt], room=6, watch=watch)
        (scores,) = stream.prompt_scores
        assert scores.shape == (7, len(watch))
        assert scores.dtype == np.float32
        layers = [watched.layer for watched in watch]
        residuals = one(engine, Row(prompt.ids, prompt.steering), layers).residuals
        for number, watched in enumerate(watch):
            self.close_scores(engine, scores[:, number], residuals[number], watched.vector)
        self.agrees(engine, prompt, play(stream, 6, 1), 0, watch)
        stream.close()

    def test_without_watches_scores_are_empty(self, engine: Engine) -> None:
        stream = engine.open([Prompt(text_ids(engine, 0, 4)), Prompt(text_ids(engine, 1, 5))], room=2)
        assert [scores.shape for scores in stream.prompt_scores] == [(4, 0), (5, 0)]
        assert stream.step(np.array([0.5, 0.5])).scores.shape == (2, 0)
        assert stream.settle().shape == (2, 0)
        stream.close()

    def test_settling_with_nothing_pending_gives_nan(self, engine: Engine) -> None:
        stream = engine.open([Prompt(text_ids(engine, 0, 4))], room=3, watch=self.watches(engine))
        assert np.isnan(stream.settle()).all()
        stream.step(np.array([0.5]))
        assert np.isfinite(stream.settle()).all()
        assert np.isnan(stream.settle()).all()
        stream.close()

    def test_steering_reaches_every_generated_token(self, engine: Engine) -> None:
        layer = middle(engine)
        (term,) = steering = everywhere(engine)
        direction = term.delta / np.linalg.norm(term.delta)
        prompt = Prompt(text_ids(engine, 0, 6), steering, PLAIN)
        watch = [Watch(layer, direction)]
        stream = engine.open([prompt], room=8, watch=watch)
        played = play(stream, 8, 1)
        stream.close()
        self.agrees(engine, prompt, played, 0, watch)
        # At the steered layer, the same tokens unsteered lie exactly |delta| lower along the direction.
        ids = np.concatenate([prompt.ids, played.ids[:, 0]])
        unsteered = one(engine, Row(ids), [layer]).residuals[0, 6:]
        self.close_scores(engine, played.scores[:, 0, 0], unsteered + term.delta, direction)

    def test_rows_decode_under_their_own_steering(self, engine: Engine) -> None:
        if not engine.info.capabilities.row_steering:
            pytest.skip("the engine says that rows of a batch are steered alike")
        last = engine.info.layers - 1
        steerings: list[Steering] = [
            (),
            everywhere(engine, 1),
            everywhere(engine, 1, dose=-0.7),
            (*everywhere(engine, 2), Term(last, strong_delta(engine, last, 3))),
        ]
        prompts = [Prompt(text_ids(engine, 0, 4 + n), steering, PLAIN) for n, steering in enumerate(steerings)]
        stream = engine.open(prompts, room=7, watch=self.watches(engine))
        played = play(stream, 7, 4)
        for row, prompt in enumerate(prompts):
            self.agrees(engine, prompt, played, row, self.watches(engine))
        stream.close()

    @pytest.mark.parametrize("span", [(0, 5), (5, None), (0, 8), (7, 9)])
    def test_spans_hold_while_decoding(self, engine: Engine, span: tuple[int, int | None]) -> None:
        if not engine.info.capabilities.span_steering:
            pytest.skip("the engine says that it steers all positions or none")
        layer = middle(engine)
        prompt = Prompt(text_ids(engine, 0, 6), (Term(layer, strong_delta(engine, layer), *span),), PLAIN)
        stream = engine.open([prompt], room=6, watch=self.watches(engine))
        self.agrees(engine, prompt, play(stream, 6, 1), 0, self.watches(engine))
        stream.close()

    def test_alpha_zero_decodes_bitwise_as_no_steering(self, engine: Engine) -> None:
        zero = Term(middle(engine), np.zeros(engine.info.width, np.float32))
        prompts = [Prompt(text_ids(engine, n, 5 + n), sampler=PLAIN) for n in range(2)]
        both = []
        for steering in ((), (zero,)):
            steered = [replace(prompt, steering=steering) for prompt in prompts]
            stream = engine.open(steered, room=6, watch=self.watches(engine))
            both.append((play(stream, 6, 2), stream.prompt_scores))
            stream.close()
        (plain, plain_scores), (zeroed, zeroed_scores) = both
        np.testing.assert_array_equal(plain.ids, zeroed.ids)
        np.testing.assert_array_equal(plain.logprobs, zeroed.logprobs)
        np.testing.assert_array_equal(plain.scores, zeroed.scores)
        for expected, scores in zip(plain_scores, zeroed_scores, strict=True):
            np.testing.assert_array_equal(expected, scores)

    @pytest.mark.parametrize("change", ["on", "off", "reversed"])
    def test_a_new_dose_takes_effect_on_the_very_next_token(self, engine: Engine, change: str) -> None:
        if not engine.info.capabilities.span_steering:
            pytest.skip("the proof needs steering of spans")
        (term,) = everywhere(engine)
        old = () if change == "on" else (term,)
        new = {"on": (term,), "off": (), "reversed": (replace(term, delta=-term.delta),)}[change]
        prompt = Prompt(text_ids(engine, 0, 6), old, PLAIN)
        watch = self.watches(engine)
        stream = engine.open([prompt], room=8, watch=watch)
        uniforms = random_uniforms(0, 8, 1)
        steps = [stream.step(uniforms[number]) for number in range(3)]
        stream.steer(0, new)
        steps += [stream.step(uniforms[number]) for number in range(3, 8)]
        late = [*(step.scores for step in steps[1:]), stream.settle()]
        stream.close()
        played = Play(np.stack([s.ids for s in steps]), np.stack([s.logprobs for s in steps]), np.stack(late), uniforms)
        # Three tokens were sampled, of which the third (position 8) had not been run.
        turn = 6 + 2
        piecewise = tuple(replace(t, stop=turn) for t in old) + tuple(replace(t, start=turn) for t in new)
        self.agrees(engine, prompt, played, 0, watch, piecewise)
        # The token sampled next must differ in probability from what the old dose says.
        fourth = Row(np.concatenate([prompt.ids, played.ids[:3, 0]]), old, full=(turn,))
        assert abs(one(engine, fourth).full[0, played.ids[3, 0]] - played.logprobs[3, 0]) > 1e-3

    def test_steering_one_row_leaves_the_others(self, engine: Engine) -> None:
        if not engine.info.capabilities.row_steering:
            pytest.skip("the engine says that rows of a batch are steered alike")
        prompts = [Prompt(text_ids(engine, n, 5 + n), sampler=PLAIN) for n in range(3)]
        both = []
        for steering in ((), everywhere(engine)):
            stream = engine.open(prompts, room=6, watch=self.watches(engine))
            stream.step(np.full(3, 0.3))
            stream.steer(1, steering)
            both.append(play(stream, 5, 3, fresh=False))
            stream.close()
        plain, steered = both
        for row in (0, 2):
            np.testing.assert_array_equal(plain.ids[:, row], steered.ids[:, row])
            np.testing.assert_array_equal(plain.logprobs[:, row], steered.logprobs[:, row])
            np.testing.assert_array_equal(plain.scores[:, row], steered.scores[:, row])
        assert not np.array_equal(plain.logprobs[:, 1], steered.logprobs[:, 1])

    def test_dropping_rows_leaves_the_others(self, engine: Engine) -> None:
        prompts = [Prompt(text_ids(engine, n, length), sampler=PLAIN) for n, length in enumerate([3, 9, 5, 7])]
        watch = self.watches(engine)
        stream = engine.open(prompts, room=8, watch=watch)
        uniforms = random_uniforms(0, 8, 4)
        ids: list[list[int]] = [[], [], [], []]
        logprobs: list[list[float]] = [[], [], [], []]
        live = [0, 1, 2, 3]
        for number in range(8):
            if number == 3:
                stream.drop([0, 2])
                live = [1, 3]
            if number == 6:
                stream.drop([0])  # rows were renumbered: this is the second prompt
                live = [3]
            step = stream.step(uniforms[number, live])
            for row, token, logprob in zip(live, step.ids.tolist(), step.logprobs.tolist(), strict=True):
                ids[row].append(token)
                logprobs[row].append(logprob)
        stream.close()
        assert [len(row) for row in ids] == [3, 6, 3, 8]
        for row, prompt in enumerate(prompts):
            count = len(ids[row])
            played = Play(
                np.array(ids[row], np.int32)[:, None],
                np.array(logprobs[row], np.float32)[:, None],
                np.zeros((count, 1, 0), np.float32),
                uniforms[:count, [row]],
            )
            self.agrees(engine, prompt, played, 0)

    def test_rows_that_stay_are_scored_and_steered_under_their_new_numbers(self, engine: Engine) -> None:
        if not engine.info.capabilities.row_steering or not engine.info.capabilities.span_steering:
            pytest.skip("the proof needs steering of rows and spans")
        prompts = [Prompt(text_ids(engine, n, length), sampler=PLAIN) for n, length in enumerate([8, 3, 5])]
        (term,) = everywhere(engine)
        watch = self.watches(engine)
        stream = engine.open(prompts, room=6, watch=watch)
        first = stream.step(np.full(3, 0.4))
        stream.drop([0])
        stream.steer(1, (term,))  # the third prompt
        rest = play(stream, 5, 2, fresh=False)
        stream.close()
        for row, number in enumerate((1, 2)):
            answered = replace(prompts[number], ids=np.append(prompts[number].ids, first.ids[number]))
            # The first token is pending at the drop, so it is the first that is steered.
            late = () if row == 0 else (replace(term, start=len(prompts[number].ids)),)
            self.agrees(engine, answered, rest, row, watch, late)

    def test_copies_share_a_prompt_and_nothing_else(self, engine: Engine) -> None:
        watch = self.watches(engine)
        steering = everywhere(engine)
        shared = Prompt(text_ids(engine, 0, 7), steering, PLAIN, copies=3)
        other = Prompt(text_ids(engine, 1, 4), steering, PLAIN)
        stream = engine.open([shared, other], room=6, watch=watch)
        assert [scores.shape for scores in stream.prompt_scores] == [(7, len(watch)), (4, len(watch))]
        played = play(stream, 6, 4, seed=3)
        stream.close()
        for row, prompt in enumerate([shared, shared, shared, other]):
            self.agrees(engine, prompt, played, row, watch)
        assert len({tuple(played.ids[:, row]) for row in range(3)}) > 1, "other uniforms give other answers"

    def test_a_row_may_grow_by_all_of_its_room(self, engine: Engine) -> None:
        prompts = [Prompt(text_ids(engine, 0, 9), sampler=PLAIN), Prompt(text_ids(engine, 1, 2), sampler=PLAIN)]
        stream = engine.open(prompts, room=3, watch=self.watches(engine))
        played = play(stream, 3, 2)
        for row, prompt in enumerate(prompts):
            self.agrees(engine, prompt, played, row, self.watches(engine))
        stream.close()

    def test_a_forward_pass_between_steps_disturbs_nothing(self, engine: Engine) -> None:
        prompt = Prompt(text_ids(engine, 0, 6), everywhere(engine), PLAIN)
        row = Row(text_ids(engine, 1, 8), full=(7,))
        before = one(engine, row, [0])
        stream = engine.open([prompt], room=6)
        uniforms = random_uniforms(0, 6, 1)
        steps = []
        for number in range(6):
            steps.append(stream.step(uniforms[number]))
            between = one(engine, row, [0])
            np.testing.assert_array_equal(between.residuals, before.residuals)
            np.testing.assert_array_equal(between.full, before.full)
        stream.close()
        ids, logprobs = np.stack([s.ids for s in steps]), np.stack([s.logprobs for s in steps])
        self.agrees(engine, prompt, Play(ids, logprobs, np.zeros((6, 1, 0), np.float32), uniforms), 0)

    def test_a_closed_stream_refuses_and_leaves_the_engine_usable(self, engine: Engine) -> None:
        row = Row(text_ids(engine, 0, 5), full=(4,))
        before = one(engine, row, [0])
        stream = engine.open([Prompt(text_ids(engine, 0, 5))], room=3)
        stream.step(np.array([0.5]))
        stream.close()
        stream.close()
        with pytest.raises(LocalprobeError):
            stream.step(np.array([0.5]))
        with pytest.raises(LocalprobeError):
            stream.settle()
        with pytest.raises(LocalprobeError):
            stream.steer(0, ())
        with pytest.raises(LocalprobeError):
            stream.drop([0])
        after = one(engine, row, [0])
        np.testing.assert_array_equal(before.residuals, after.residuals)
        np.testing.assert_array_equal(before.full, after.full)
