"""Decoding with a KV cache: tokens, log-probabilities, scores, and rows that come and go."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import Engine, Prompt, Row
from localprobe.errors import LocalprobeError
from localprobe.testing.contract.base import (
    everywhere,
    one,
    random_uniforms,
    text_ids,
)
from localprobe.testing.contract.stream import GREEDY, PLAIN, SAMPLERS, Play, StreamChecks, play


class DecodingContract(StreamChecks):
    """`open` and the stream's verbs, without a change of steering and without reuse."""

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

    def test_steps_list_the_most_likely_tokens(self, engine: Engine) -> None:
        self.needs(engine, "top")
        prompts = [Prompt(text_ids(engine, 0, 7), everywhere(engine), PLAIN, top=5), Prompt(text_ids(engine, 1, 4))]
        stream = engine.open(prompts, room=4)
        uniforms = random_uniforms(0, 4, 2)
        steps = [stream.step(row) for row in uniforms[:3]]
        stream.drop([0])
        last = stream.step(uniforms[3, 1:])
        stream.close()
        assert last.top is None, "no row that is left asked for them"
        ids = np.concatenate([prompts[0].ids, [step.ids[0] for step in steps]]).astype(np.int32)
        full = one(engine, Row(ids, prompts[0].steering, full=(6, 7, 8))).full
        for step, expected in zip(steps, full, strict=True):
            assert step.top is not None
            assert step.top.ids.shape == step.top.logprobs.shape == (2, 5)
            assert (np.diff(step.top.logprobs) <= 0).all()
            self.close_logprobs(engine, step.top.logprobs[0], np.sort(expected)[:-6:-1])
            self.close_logprobs(engine, step.top.logprobs[0], expected[step.top.ids[0]])

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
