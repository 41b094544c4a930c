"""Rows that join a stream, and positions that are held for later rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from localprobe.checks import LONGEST
from localprobe.engine import Engine, Prompt, Reserve, Row, Sampler, Stream, Term, Watch
from localprobe.errors import LocalprobeError, OutOfMemory
from localprobe.testing.contract.base import everywhere, middle, one, random_uniforms, strong_delta, text_ids, unit
from localprobe.testing.contract.stream import GREEDY, PLAIN, SAMPLERS, Play, StreamChecks

ROOM = 12


@dataclass
class Live:
    """A row of the stream, and what it has given so far."""

    prompt: Prompt
    uniforms: list[float]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    @property
    def played(self) -> Play:
        return Play(
            np.array(self.ids, np.int32)[:, None],
            np.array(self.logprobs, np.float32)[:, None],
            np.array(self.scores, np.float32)[:, None],
            np.array(self.uniforms[: len(self.ids)])[:, None],
        )


class Table:
    """A stream that rows join, with each row's own random numbers and outputs."""

    def __init__(self, engine: Engine, watch: Sequence[Watch] = (), rows: int = 6, tokens: int = 240) -> None:
        self.watch = tuple(watch)
        self.stream: Stream = engine.open([], room=ROOM, watch=watch, reserve=Reserve(rows, tokens, 60))
        self.rows: list[Live] = []
        self._seeds = 0

    def join(self, *prompts: Prompt, room: int = ROOM) -> list[Live]:
        new = [self._live(prompt) for prompt in prompts for _ in range(prompt.copies)]
        scores = self.stream.join(prompts, room)
        for prompt, own in zip(prompts, scores, strict=True):
            assert own.shape == (len(prompt.ids) - prompt.keep, len(self.watch))
        self.rows += new
        return new

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            step = self.stream.step(np.array([row.uniforms[len(row.ids)] for row in self.rows]))
            assert step.ids.shape == (len(self.rows),)
            self._score(step.scores)
            for row, token, logprob in zip(self.rows, step.ids.tolist(), step.logprobs.tolist(), strict=True):
                row.ids.append(token)
                row.logprobs.append(logprob)

    def settle(self) -> None:
        self._score(self.stream.settle())

    def drop(self, *rows: Live) -> None:
        gone = [number for number, row in enumerate(self.rows) if row in rows]
        self.stream.drop(gone)
        self.rows = [row for row in self.rows if row not in rows]

    def _score(self, scores: np.ndarray) -> None:
        for row, own in zip(self.rows, scores, strict=True):
            if len(row.scores) < len(row.ids):
                row.scores.append(own)
            else:
                assert np.isnan(own).all(), "no token of this row was waiting for scores"

    def _live(self, prompt: Prompt) -> Live:
        self._seeds += 1
        return Live(prompt, random_uniforms(self._seeds, 4 * ROOM, 1)[:, 0].tolist())


class JoinContract(StreamChecks):
    """`open` with a `reserve`, `join`, `prefill`, `hold`, `release` and `watch`."""

    @contextmanager
    def table(self, engine: Engine, watch: Sequence[Watch] = (), rows: int = 6, tokens: int = 240) -> Iterator[Table]:
        self.needs(engine, "join")
        opened = Table(engine, watch, rows, tokens)
        try:
            yield opened
        finally:
            opened.stream.close()

    def right(self, engine: Engine, *rows: Live, watch: Sequence[Watch] = ()) -> None:
        """Assert that each row is what one pass over it gives."""
        for row in rows:
            self.agrees(engine, row.prompt, row.played, 0, watch)

    def test_a_row_that_joined_equals_the_row_alone(self, engine: Engine) -> None:
        watch = self.watches(engine)
        with self.table(engine, watch) as table:
            (first,) = table.join(Prompt(text_ids(engine, 0, 6), sampler=PLAIN))
            table.step(3)
            (second,) = table.join(Prompt(text_ids(engine, 1, 9), sampler=PLAIN))
            table.step(4)
            table.settle()
            self.right(engine, first, second, watch=watch)
            assert (len(first.ids), len(second.ids)) == (7, 4)

    def test_rows_may_join_a_stream_that_began_with_others(self, engine: Engine) -> None:
        self.needs(engine, "join")
        prompt = Prompt(text_ids(engine, 0, 5), sampler=PLAIN)
        stream = engine.open([prompt], room=ROOM, reserve=Reserve(3, 120, 60))
        uniforms = random_uniforms(3, 5, 2)
        ids = [stream.step(uniforms[0, :1]).ids.tolist()]
        other = Prompt(text_ids(engine, 2, 8), sampler=PLAIN)
        stream.join([other], ROOM)
        steps = [stream.step(row) for row in uniforms[1:]]
        stream.close()
        logprobs = np.stack([step.logprobs for step in steps])
        played = Play(np.stack([step.ids for step in steps]), logprobs, np.empty((4, 2, 0), np.float32), uniforms[1:])
        self.agrees(engine, other, played, 1)
        self.agrees(engine, replace(prompt, ids=np.append(prompt.ids, np.array(ids[0], np.int32))), played, 0)

    def test_joining_leaves_the_tokens_of_the_others_as_they_are(self, engine: Engine) -> None:
        alone: list[int] = []
        for joins in (False, True):
            with self.table(engine) as table:
                (first,) = table.join(Prompt(text_ids(engine, 0, 6), everywhere(engine), GREEDY))
                table.step(2)
                if joins:
                    table.join(Prompt(text_ids(engine, 1, 9), everywhere(engine, 1, dose=-0.7), PLAIN))
                table.step(6)
                table.settle()
                self.right(engine, first)
                alone = alone or first.ids
        if engine.info.dtype == "float32":
            assert first.ids == alone

    def test_steering_and_sampler_stay_each_rows_own(self, engine: Engine) -> None:
        self.needs(engine, "join", "row_steering")
        watch = self.watches(engine)
        last = engine.info.layers - 1
        steerings = [(), everywhere(engine, 1), (*everywhere(engine, 2), Term(last, strong_delta(engine, last, 3)))]
        with self.table(engine, watch) as table:
            rows: list[Live] = []
            for number, (steering, sampler) in enumerate(zip(steerings, list(SAMPLERS.values())[1:4], strict=True)):
                rows += table.join(Prompt(text_ids(engine, number, 5 + number), steering, sampler))
                table.step(2)
            table.step(4)
            table.settle()
            self.right(engine, *rows, watch=watch)

    def test_a_span_begins_at_its_position_of_the_row(self, engine: Engine) -> None:
        self.needs(engine, "join", "span_steering")
        layer = middle(engine)
        with self.table(engine) as table:
            table.join(Prompt(text_ids(engine, 0, 9), sampler=PLAIN))
            table.step(3)
            term = Term(layer, strong_delta(engine, layer), 7, 10)
            (row,) = table.join(Prompt(text_ids(engine, 1, 5), (term,), PLAIN))
            table.step(8)
            table.settle()
            self.right(engine, row)

    def test_slots_are_used_again(self, engine: Engine) -> None:
        with self.table(engine, rows=2, tokens=64) as table:
            rows: list[Live] = []
            for number in range(9):
                rows += table.join(Prompt(text_ids(engine, number, 4 + number % 5), sampler=PLAIN))
                table.step(3)
                table.settle()
                if len(table.rows) == 2:
                    table.drop(table.rows[number % 2])
            self.right(engine, *rows)

    def test_a_row_without_place_is_refused_and_the_others_go_on(self, engine: Engine) -> None:
        with self.table(engine, rows=2, tokens=64) as table:
            rows = table.join(Prompt(text_ids(engine, 0, 6), sampler=PLAIN), room=20)
            table.step(2)
            with pytest.raises(OutOfMemory):
                table.stream.join([Prompt(text_ids(engine, 1, 9))], 60)
            rows += table.join(Prompt(text_ids(engine, 1, 9), sampler=PLAIN), room=20)
            with pytest.raises(OutOfMemory):
                table.stream.join([Prompt(text_ids(engine, 2, 2))], 1)
            table.step(4)
            table.settle()
            self.right(engine, *rows)

    def test_every_row_may_use_its_own_room(self, engine: Engine) -> None:
        with self.table(engine) as table:
            (short,) = table.join(Prompt(text_ids(engine, 0, 4), sampler=PLAIN), room=2)
            table.step(2)
            table.settle()
            table.drop(short)
            (long,) = table.join(Prompt(text_ids(engine, 0, 4), sampler=PLAIN), room=16)
            table.step(16)
            table.settle()
            self.right(engine, short, long)

    def test_a_row_that_joins_may_ask_for_the_most_likely_tokens(self, engine: Engine) -> None:
        self.needs(engine, "top")
        with self.table(engine) as table:
            table.join(Prompt(text_ids(engine, 0, 4), sampler=PLAIN))
            assert table.stream.step(np.array([0.5])).top is None
            prompt = Prompt(text_ids(engine, 2, 7), everywhere(engine), PLAIN, top=2)
            table.join(prompt)
            top = table.stream.step(np.array([0.5, 0.5])).top
            assert top is not None
            expected = one(engine, Row(prompt.ids, prompt.steering, full=(6,))).full[0]
            self.close_logprobs(engine, top.logprobs[1], np.sort(expected)[:-3:-1])

    def test_copies_join_together(self, engine: Engine) -> None:
        with self.table(engine) as table:
            rows = table.join(Prompt(text_ids(engine, 0, 4), sampler=PLAIN))
            table.step()
            rows += table.join(Prompt(text_ids(engine, 2, 7), everywhere(engine), PLAIN, copies=3))
            table.step(4)
            table.settle()
            self.right(engine, *rows)

    def test_no_score_is_lost_when_a_row_joins_and_another_leaves(self, engine: Engine) -> None:
        watch = self.watches(engine)
        with self.table(engine, watch) as table:
            rows = table.join(
                Prompt(text_ids(engine, 0, 6), sampler=PLAIN), Prompt(text_ids(engine, 1, 4), sampler=PLAIN)
            )
            table.step(2)
            rows += table.join(Prompt(text_ids(engine, 2, 9), sampler=PLAIN))
            rows += table.join(Prompt(text_ids(engine, 3, 3), sampler=PLAIN))  # nothing is pending now
            table.settle()
            table.drop(rows[0])
            rows += table.join(Prompt(text_ids(engine, 0, 5), sampler=PLAIN))
            table.step(3)
            table.settle()
            self.right(engine, *rows, watch=watch)
            assert [len(row.scores) for row in rows] == [2, 5, 3, 3, 3]

    def test_steering_may_change_after_a_row_joined(self, engine: Engine) -> None:
        self.needs(engine, "join", "span_steering", "row_steering")
        (term,) = everywhere(engine)
        with self.table(engine) as table:
            (first,) = table.join(Prompt(text_ids(engine, 0, 6), sampler=PLAIN))
            table.step(2)
            (second,) = table.join(Prompt(text_ids(engine, 1, 6), sampler=PLAIN))
            table.stream.steer(0, (replace(term, start=8),))
            table.step(4)
            table.settle()
            self.agrees(engine, first.prompt, first.played, 0, steering=(replace(term, start=8),))
            self.right(engine, second)

    def test_steering_beyond_all_sense_harms_no_other_row(self, engine: Engine) -> None:
        self.needs(engine, "row_steering")
        layer = middle(engine)
        wild = tuple(Term(b, np.float32(LONGEST / 2) * unit(engine, b)) for b in (layer, engine.info.layers - 1))
        with self.table(engine, rows=2, tokens=64) as table:
            (first,) = table.join(Prompt(text_ids(engine, 0, 6), sampler=PLAIN))
            table.step()
            (second,) = table.join(Prompt(text_ids(engine, 1, 9), wild, GREEDY))
            table.step(3)
            table.settle()
            table.drop(second)
            (third,) = table.join(Prompt(text_ids(engine, 2, 5), sampler=PLAIN))  # in its place
            table.step(4)
            table.settle()
            self.right(engine, first, third)

    def test_other_projections_may_be_read(self, engine: Engine) -> None:
        old, new = self.watches(engine)[:2], [Watch(middle(engine), unit(engine, 9)), *self.watches(engine)[:2]]
        with self.table(engine, old) as table:
            (row,) = table.join(Prompt(text_ids(engine, 0, 6), sampler=PLAIN))
            table.step(2)  # the second token is run by the join, and read as before
            table.watch = tuple(old)
            (other,) = table.join(Prompt(text_ids(engine, 1, 6), sampler=PLAIN))
            table.stream.watch(new)
            assert all(len(scores) == 2 for scores in row.scores)
            table.step(1)
            assert np.isnan(row.scores[1][0]), "it was not read when the token was run"
            assert not np.isnan(row.scores[1][1:]).any()
            table.step(3)
            table.settle()
            row.scores = [np.array([np.nan, *scores]) if len(scores) == 2 else scores for scores in row.scores]
            self.right(engine, other, watch=new)
            kept = replace_scores(row, slice(1, 3))
            self.right(engine, kept, watch=new[1:])

    def test_forward_between_joins_disturbs_nothing(self, engine: Engine) -> None:
        with self.table(engine) as table:
            rows = table.join(Prompt(text_ids(engine, 0, 6), everywhere(engine), PLAIN))
            table.step(2)
            one(engine, Row(text_ids(engine, 3, 9)), [middle(engine)])
            rows += table.join(Prompt(text_ids(engine, 1, 6), sampler=PLAIN))
            one(engine, Row(text_ids(engine, 2, 9)), [middle(engine)])
            table.step(3)
            table.settle()
            self.right(engine, *rows)

    def test_a_long_prompt_in_pieces_equals_it_whole(self, engine: Engine) -> None:
        watch = self.watches(engine)
        prompt = Prompt(text_ids(engine, 0, 9), everywhere(engine), PLAIN)
        with self.table(engine, watch) as table:
            (other,) = table.join(Prompt(text_ids(engine, 1, 5), sampler=PLAIN))
            table.step()
            begun = table.stream.prefill(replace(prompt, ids=prompt.ids[:4]))
            table.step()
            more = table.stream.prefill(replace(prompt, ids=prompt.ids[:7], keep=4, held=begun.number))
            table.stream.release(begun.number)
            table.step()
            (row,) = table.join(replace(prompt, keep=7, held=more.number))
            table.stream.release(more.number)
            table.step(4)
            table.settle()
            self.right(engine, row, other, watch=watch)
            whole = one(engine, Row(prompt.ids, prompt.steering), [watch[1].layer]).residuals[0]
            for held, span in ((begun, slice(0, 4)), (more, slice(4, 7))):
                assert held.scores.shape == (span.stop - span.start, len(watch))
                self.close_scores(engine, held.scores[:, 1], whole[span], watch[1].vector)

    def test_held_positions_serve_many_rows(self, engine: Engine) -> None:
        shared, rows = text_ids(engine, 0, 6), []
        with self.table(engine) as table:
            held = table.stream.prefill(Prompt(shared, everywhere(engine)))
            for number in range(3):
                ids = np.concatenate([shared, text_ids(engine, 1 + number, 3 + number)])
                (row,) = table.join(Prompt(ids, everywhere(engine), PLAIN, keep=6, held=held.number))
                rows.append(row)
                table.step(2)
                if number == 0:
                    table.settle()
                    table.drop(row)
            table.step(3)
            table.settle()
            self.right(engine, *rows)

    def test_prompts_join_together_each_from_its_own_beginning(self, engine: Engine) -> None:
        watch = self.watches(engine)
        shared = text_ids(engine, 0, 8)
        with self.table(engine, watch) as table:
            table.join(Prompt(text_ids(engine, 3, 5), sampler=PLAIN))
            table.step(2)
            held = table.stream.prefill(Prompt(shared, everywhere(engine))).number
            prompts = [
                Prompt(np.append(shared, text_ids(engine, 1, 3)), everywhere(engine), PLAIN, keep=8, held=held),
                Prompt(text_ids(engine, 2, 4), sampler=PLAIN, copies=2),
                Prompt(np.append(shared[:5], text_ids(engine, 1, 6)), everywhere(engine), PLAIN, keep=5, held=held),
            ]
            table.join(*prompts)
            table.stream.release(held)
            table.step(4)
            table.settle()
            self.right(engine, *table.rows, watch=watch)

    def test_positions_of_a_row_outlive_it(self, engine: Engine) -> None:
        with self.table(engine) as table:
            (first,) = table.join(Prompt(text_ids(engine, 0, 6), everywhere(engine), PLAIN))
            table.step(5)
            held = table.stream.hold(0, 9)
            table.step()
            table.settle()
            table.drop(first)
            ids = np.concatenate([first.prompt.ids, np.array(first.ids[:3], np.int32), text_ids(engine, 1, 4)])
            (second,) = table.join(Prompt(ids, everywhere(engine), PLAIN, keep=9, held=held))
            (part,) = table.join(Prompt(ids[:8], everywhere(engine), Sampler(1.0), keep=5, held=held))
            table.stream.release(held)
            table.step(5)
            table.settle()
            self.right(engine, first, second, part)

    def test_held_positions_count_and_are_freed(self, engine: Engine) -> None:
        with self.table(engine, rows=2, tokens=64) as table:
            prompt = Prompt(text_ids(engine, 0, 9), sampler=PLAIN)
            held = [table.stream.prefill(prompt).number for _ in range(2)]
            with pytest.raises(OutOfMemory):
                table.stream.join([prompt], ROOM)
            table.stream.release(held[0])
            (row,) = table.join(replace(prompt, keep=8, held=held[1]))
            table.step(3)
            table.settle()
            self.right(engine, row)

    def test_a_closed_stream_takes_no_row(self, engine: Engine) -> None:
        with self.table(engine) as table:
            table.stream.close()
            with pytest.raises(LocalprobeError):
                table.stream.join([Prompt(text_ids(engine, 0, 6))], ROOM)
            with pytest.raises(LocalprobeError):
                table.stream.prefill(Prompt(text_ids(engine, 0, 6)))

    def test_rows_cannot_join_a_stream_without_a_reserve(self, engine: Engine) -> None:
        self.needs(engine, "join")
        stream = engine.open([Prompt(text_ids(engine, 0, 6))], room=4)
        with pytest.raises(LocalprobeError):
            stream.join([Prompt(text_ids(engine, 1, 6))], 4)
        stream.close()


def replace_scores(row: Live, columns: slice) -> Live:
    """The row with some of its scores only."""
    return replace(row, scores=[scores[columns] for scores in row.scores])
