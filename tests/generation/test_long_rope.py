"""Rows that outgrow `Info.rope_length`, beyond which all positions of a row are rotated by other factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.batches import apart, forward
from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Message, render
from localprobe.engine import Prompt, Row, Sampler, Stream, Term, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe.fake import FakeEngine
from localprobe.generation.conversation import Conversation
from localprobe.generation.decode import Decoding, Request, generate
from localprobe.generation.events import Event, Finished, Score, Token

LENGTH = 40
IDS = np.random.default_rng(0).integers(32, 120, 100).astype(np.int32)
WATCH = [Watch(3, np.random.default_rng(1).standard_normal(32).astype(np.float32))]
PUSH = np.random.default_rng(2).standard_normal(32).astype(np.float32)


class Opening(FakeEngine):
    """Records the lengths of prompts, by stream; refuses more than `most` rows."""

    def __init__(self, most: int = 64, rope_length: int = LENGTH, **how: Any) -> None:
        super().__init__(rope_length=rope_length, **how)
        self.info = replace(self.info, eos=())  # answers have the length that is asked for
        self.opened: list[list[int]] = []
        self.most = most

    def open(self, prompts: Sequence[Prompt], **how: Any) -> Stream:  # type: ignore[override]
        if sum(prompt.copies for prompt in prompts) > self.most:
            raise OutOfMemory("too many rows")
        self.opened.append([len(prompt.ids) for prompt in prompts])
        return super().open(prompts, **how)


@pytest.fixture
def engine() -> Opening:
    return Opening()


def request(length: int, key: str = "0", **how: Any) -> Request:
    steering = (Term(1, PUSH, 3), Term(2, -PUSH, 0, LENGTH + 2))
    return Request(IDS[:length], **{"steering": steering, "sampler": Sampler(1.0), "key": key, "tokens": 12, **how})


def answer(events: Sequence[Event], row: int = 0) -> tuple[list[int], list[float], list[float]]:
    """Ids, log-probabilities and scores of a row."""
    tokens = [event for event in events if isinstance(event, Token) and event.row == row]
    scores = [float(event.values[0]) for event in events if isinstance(event, Score) and event.row == row]
    return [token.id for token in tokens], [token.logprob for token in tokens], scores


def recomputed(engine: FakeEngine, asked: Request, ids: list[int]) -> tuple[list[float], list[float]]:
    """Log-probability and score of each token, each by a pass over the text up to it."""
    whole = np.array([*asked.ids, *ids], np.int32)
    logprobs, scores = [], []
    for position in range(len(asked.ids), len(whole)):
        target = np.array([[position - 1, whole[position]]], np.int32)
        before = engine.forward([Row(whole[:position], asked.steering, targets=target)])[0]
        own = engine.forward([Row(whole[: position + 1], asked.steering)], [WATCH[0].layer])[0]
        logprobs.append(float(before.targets[0]))
        scores.append(float(own.residuals[0, -1] @ WATCH[0].vector))
    return logprobs, scores


def test_a_batch_on_both_sides_equals_its_rows_alone(engine: Opening) -> None:
    rows = [Row(IDS[:n], full=(n - 1,)) for n in (9, 41, 40, 80)]
    for alone, together in zip([engine.forward([row], [4])[0] for row in rows], engine.forward(rows, [4]), strict=True):
        np.testing.assert_array_equal(alone.residuals, together.residuals)
        np.testing.assert_array_equal(alone.full, together.full)
    batches = list(forward(engine, rows, [4]))
    lengths = {i: output.residuals.shape[1] for batch, outs in batches for i, output in zip(batch, outs, strict=True)}
    assert lengths == {0: 9, 1: 41, 2: 40, 3: 80}
    long, short = (engine.forward([Row(IDS[:n])], [4])[0].residuals[0, :9] for n in (80, 9))
    assert np.linalg.norm(long - short) > 0.1 * np.linalg.norm(short)  # else this could not fail


def test_apart_runs_each_side_once_and_keeps_the_order(engine: Opening) -> None:
    ran: list[list[int]] = []

    def run(part: list[Row]) -> Any:
        ran.append([len(row.ids) for row in part])
        return ran[-1]

    assert apart(engine.info, [Row(IDS[:n]) for n in (41, 3, 50, 40)], run) == [41, 3, 50, 40]  # type: ignore[comparison-overlap]
    assert ran == [[41, 50], [3, 40]]
    assert apart(engine.info, [], run) == []


@pytest.mark.parametrize("length", [30, 38, 39, 40, 41, 60])
@pytest.mark.parametrize("tokens", [1, 2, 12])
def test_each_token_is_predicted_and_scored_by_the_text_up_to_it(engine: Opening, length: int, tokens: int) -> None:
    asked = request(length, tokens=tokens)
    ids, logprobs, scores = answer(list(generate(engine, [asked], WATCH)))
    np.testing.assert_allclose(logprobs, recomputed(engine, asked, ids)[0], atol=1e-4)
    np.testing.assert_allclose(scores, recomputed(engine, asked, ids)[1], atol=1e-4)
    assert engine.opened[1:] == ([[41]] if length <= LENGTH < length + len(ids) else [])


def test_rows_that_outgrow_it_at_other_times_are_the_same_in_one_batch(engine: Opening) -> None:
    requests = [request(length, str(i)) for i, length in enumerate([39, 33, 5, 60, 40])]
    events = list(generate(engine, requests, WATCH))
    for i, asked in enumerate(requests):
        assert answer(events, i) == answer(list(generate(engine, [asked], WATCH)))
    assert sum(isinstance(event, Finished) for event in events) == 5
    assert [sorted(lengths) for lengths in engine.opened[:3]] == [[5, 33, 39, 40], [41, 41, 41], [60]]


def test_rows_that_do_not_fit_together_wait_on() -> None:
    engine = Opening()
    requests = [request(36 + i, str(i)) for i in range(3)]
    decoding = Decoding(engine, requests, WATCH)
    engine.most = 1
    events = []
    while not decoding.done:
        events += decoding.step()
    assert engine.opened[1:] == [[41], [41], [41]]
    for i, asked in enumerate(requests):
        assert answer(events, i) == answer(list(generate(Opening(), [asked], WATCH)))
    engine.most = 0
    lone = Decoding(Opening(), requests[:1])
    lone._engine = engine
    with pytest.raises(OutOfMemory):
        while not lone.done:
            lone.step()


@pytest.mark.parametrize("watch", [WATCH, []])
def test_a_stop_while_rows_wait_ends_and_scores_them(engine: Opening, watch: list[Watch]) -> None:
    requests = [request(38, "a"), request(20, "b")]
    decoding = Decoding(engine, requests, watch)
    events = [event for _ in range(6) for event in decoding.step()]
    events += decoding.stop()
    assert decoding.done
    assert [event.reason for event in events if isinstance(event, Finished)] == ["stopped", "stopped"]
    for row, count in ((0, 3), (1, 6)):
        ids, _, scores = answer(events, row)
        assert len(ids) == count
        assert len(scores) == (count if watch else 0)
        np.testing.assert_allclose(scores, recomputed(engine, requests[row], ids)[1][: len(scores)], atol=1e-4)


def test_a_row_can_be_steered_while_it_waits(engine: Opening) -> None:
    decoding = Decoding(engine, [request(39, steering=()), request(20, steering=())], WATCH)
    events = [event for _ in range(4) for event in decoding.step()]
    decoding.steer(0, (Term(1, 5 * PUSH),))
    while not decoding.done:
        events += decoding.step()
    asked = request(39, steering=(Term(1, 5 * PUSH, LENGTH),))
    ids, logprobs, scores = answer(events)
    expected = recomputed(engine, asked, ids)
    np.testing.assert_allclose(logprobs, expected[0], atol=1e-4)
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)


@pytest.mark.parametrize(("left", "reused"), [(7, [False, False, True]), (2, [False, True, True])])
def test_a_chat_that_crosses_the_length_equals_a_fresh_one(left: int, reused: list[bool]) -> None:
    """Between two turns, or in mid-answer; the cache is reused on either side, and not across."""
    length = len(encode_chat(FakeEngine(), render(FakeEngine().info, [Message("user", "Hi")]))) + left
    chat = Conversation(Opening(rope_length=length, context=400), watch=WATCH)
    for turn in range(3):
        events = list(chat.say("Hi", sampler=Sampler(0), tokens=5))
        asked = Request(np.array(chat._ids[: chat.prompt], np.int32), (), Sampler(0), tokens=5)
        fresh = answer(list(generate(Opening(rope_length=length, context=400), [asked], WATCH)))
        assert answer(events)[0] == fresh[0]
        np.testing.assert_allclose(answer(events)[2], fresh[2], atol=1e-4)
        assert (chat.reused > 0) == reused[turn]
        assert (chat.prompt > length) == (turn > 0)


def test_a_stream_stays_on_one_side(engine: Opening) -> None:
    with pytest.raises(UsageError, match=r"fake rotates texts of more than 40 tokens by other factors: decode prompts"):
        Decoding(engine, [request(10), request(50)])
    stream = engine.open([Prompt(IDS[:39])], room=9)
    stream.step(np.array([0.5]))
    stream.step(np.array([0.5]))
    for run in (lambda: stream.step(np.array([0.5])), stream.settle):
        with pytest.raises(UsageError, match="row 0 holds 40 tokens, and a longer one is rotated by other factors"):
            run()
