"""Reusing an earlier stream's cache: what is kept, what is run again, and under which steering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import Engine, Prompt, Term
from localprobe.errors import LocalprobeError
from localprobe.testing.contract.base import everywhere, text_ids
from localprobe.testing.contract.stream import PLAIN, StreamChecks, play


class ReuseContract(StreamChecks):
    """`open(reuse=...)`."""

    @pytest.mark.parametrize("settled", [True, False])
    def test_a_second_turn_equals_a_fresh_open(self, engine: Engine, settled: bool) -> None:
        self.needs(engine, "reuse")
        watch = self.watches(engine)
        steering = everywhere(engine)
        first = Prompt(text_ids(engine, 0, 6), steering, PLAIN)
        old = engine.open([first], room=4, watch=watch)
        if settled:
            answer = play(old, 4, 1).ids[:, 0]
        else:
            answer = np.array([old.step(np.array([u])).ids[0] for u in (0.2, 0.8, 0.5, 0.1)], np.int32)
        kept = 6 + (4 if settled else 3)  # a token that has not been run is not in the cache
        ids = np.concatenate([first.ids, answer, text_ids(engine, 1, 5)])
        second = Prompt(ids, steering, PLAIN, keep=kept)
        stream = engine.open([second], room=6, watch=watch, reuse=old)

        fresh = engine.open([replace(second, keep=0)], room=1, watch=watch)
        (expected,) = fresh.prompt_scores
        fresh.close()
        (scores,) = stream.prompt_scores
        assert scores.shape == (len(ids) - kept, len(watch))
        largest = np.abs(expected).max()
        np.testing.assert_allclose(scores, expected[kept:], atol=10 * self.within(engine).residual * largest)
        self.agrees(engine, second, play(stream, 6, 1, seed=5), 0, watch)
        stream.close()

    def test_the_old_stream_is_closed_and_closing_it_again_harms_nothing(self, engine: Engine) -> None:
        self.needs(engine, "reuse")
        first = Prompt(text_ids(engine, 0, 6), sampler=PLAIN)
        old = engine.open([first], room=3)
        played = play(old, 3, 1)
        ids = np.concatenate([first.ids, played.ids[:, 0], text_ids(engine, 1, 3)])
        second = Prompt(ids, sampler=PLAIN, keep=7)
        stream = engine.open([second], room=4, reuse=old)
        with pytest.raises(LocalprobeError):
            old.step(np.array([0.5]))
        old.close()
        self.agrees(engine, second, play(stream, 4, 1), 0)
        stream.close()

    @pytest.mark.parametrize("keep", [0, 1, 4, 7])
    def test_after_a_new_dose_only_what_it_left_alone_is_kept(self, engine: Engine, keep: int) -> None:
        self.needs(engine, "reuse", "span_steering")
        (term,) = everywhere(engine)
        first = Prompt(text_ids(engine, 0, 6), (term,), PLAIN)
        old = engine.open([first], room=3)
        played = play(old, 3, 1)
        # The kept positions keep the old dose; the others are run again under its negative.
        steering = (replace(term, stop=keep), Term(term.layer, -term.delta, keep))
        ids = np.concatenate([first.ids, played.ids[:, 0]])
        second = Prompt(ids, steering, PLAIN, keep=keep)
        stream = engine.open([second], room=5, watch=self.watches(engine), reuse=old)
        assert stream.prompt_scores[0].shape[0] == len(ids) - keep
        self.agrees(engine, second, play(stream, 5, 1), 0, self.watches(engine))
        stream.close()

    def test_rows_keep_different_lengths(self, engine: Engine) -> None:
        self.needs(engine, "reuse")
        watch = self.watches(engine)
        firsts = [Prompt(text_ids(engine, n, length), sampler=PLAIN) for n, length in enumerate([6, 9, 3])]
        old = engine.open(firsts, room=4, watch=watch)
        played = play(old, 4, 3)
        answered = [np.concatenate([first.ids, played.ids[:, row]]) for row, first in enumerate(firsts)]
        seconds = [
            Prompt(np.concatenate([answered[0], text_ids(engine, 3, 4)]), sampler=PLAIN, keep=10),
            Prompt(text_ids(engine, 2, 5), sampler=PLAIN, keep=0),
            Prompt(np.concatenate([answered[2][:4], text_ids(engine, 1, 9)]), sampler=PLAIN, keep=4),
        ]
        stream = engine.open(seconds, room=5, watch=watch, reuse=old)
        assert [len(scores) for scores in stream.prompt_scores] == [4, 5, 9]
        again = play(stream, 5, 3, seed=7)
        for row, second in enumerate(seconds):
            self.agrees(engine, second, again, row, watch)
        stream.close()

    def test_reuse_after_a_drop_counts_the_rows_that_stayed(self, engine: Engine) -> None:
        self.needs(engine, "reuse")
        firsts = [Prompt(text_ids(engine, n, length), sampler=PLAIN) for n, length in enumerate([4, 7])]
        old = engine.open(firsts, room=4)
        old.step(np.array([0.3, 0.6]))
        old.drop([0])
        answer = play(old, 2, 1, fresh=False).ids[:, 0]
        # The cache holds other tokens after the prompt: only the prompt is kept.
        second = Prompt(np.concatenate([firsts[1].ids, answer]), sampler=PLAIN, keep=7)
        stream = engine.open([second], room=4, reuse=old)
        self.agrees(engine, second, play(stream, 4, 1), 0)
        stream.close()
