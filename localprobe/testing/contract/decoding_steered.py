"""Decoding under steering: every generated token is steered by its row's terms at the time it is run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import Engine, Prompt, Row, Steering, Term, Watch
from localprobe.testing.contract.base import (
    everywhere,
    middle,
    one,
    random_uniforms,
    strong_delta,
    text_ids,
)
from localprobe.testing.contract.stream import PLAIN, Play, StreamChecks, play


class SteeredDecodingContract(StreamChecks):
    """`open` with steering, and `steer`."""

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
        self.needs(engine, "row_steering")
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
        self.needs(engine, "span_steering")
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
        self.needs(engine, "span_steering")
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
        self.agrees(engine, prompt, played, 0, watch, steering=piecewise)
        # The probability of the next token must differ from that under the old dose.
        fourth = Row(np.concatenate([prompt.ids, played.ids[:3, 0]]), old, full=(turn,))
        assert abs(one(engine, fourth).full[0, played.ids[3, 0]] - played.logprobs[3, 0]) > 1e-3

    def test_steering_one_row_leaves_the_others(self, engine: Engine) -> None:
        self.needs(engine, "row_steering")
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

    def test_rows_that_stay_are_scored_and_steered_under_their_new_numbers(self, engine: Engine) -> None:
        self.needs(engine, "row_steering", "span_steering")
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
            self.agrees(engine, answered, rest, row, watch, steering=late)
