"""Answers out of events, and how they show themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from localprobe.engine import Row, Watch
from localprobe.fake import FakeEngine
from localprobe.generation.answer import Answer, AnswerBuilder, collect
from localprobe.generation.decode import Request, generate
from localprobe.generation.events import Event, Finished, Score, Token

EVENTS: list[Event] = [
    Token(0, 0, 11, "How", -0.5),
    Token(1, 0, 21, "No", -1.0),
    Score(0, 0, np.array([1.0, 5.0], np.float32)),
    Score(1, 0, np.array([-1.0, 0.0], np.float32)),
    Finished(1, "end", "!"),
    Token(0, 1, 12, "", -0.25),
    Score(0, 1, np.array([3.0, 7.0], np.float32)),
    Finished(0, "length", " are"),
]


def test_events_of_rows_become_their_answers() -> None:
    first, second = collect(EVENTS, 2)
    assert (first.text, first.pieces, first.ids.tolist()) == ("How are", ("How", " are"), [11, 12])
    assert (first.scores.tolist(), first.projections[:, 1].tolist()) == ([1.0, 3.0], [5.0, 7.0])
    assert (first.logprobs.tolist(), first.reason, first.mean_score) == ([-0.5, -0.25], "length", 2.0)
    assert (str(second), second.reason, len(second)) == ("No!", "end", 1)


def test_an_answer_can_be_read_while_it_grows() -> None:
    builder = AnswerBuilder()
    for event in EVENTS[:1]:
        builder.take(event)
    assert (builder.text, builder.reason) == ("How", None)
    assert math.isnan(builder.scores[0])
    broken_off = builder.answer()
    assert (broken_off.reason, broken_off.mean_score) == ("stopped", None)
    assert np.isnan(broken_off.scores).all()


def test_a_finished_answer_does_not_change() -> None:
    builder = AnswerBuilder()
    builder.take(EVENTS[0])
    answer = builder.answer()
    builder.take(EVENTS[2])
    assert np.isnan(answer.scores).all()
    with pytest.raises(ValueError, match="read-only"):
        answer.ids[0] = 0


def test_an_answer_without_a_token_has_empty_sequences() -> None:
    (answer,) = collect([Finished(0, "end", "")], 1)
    assert (answer.text, answer.ids.tolist(), answer.scores.tolist(), answer.mean_score) == ("", [], [], None)
    assert repr(answer) == "<Answer '', 0 tokens, reason 'end'>"
    assert "0 tokens, reason: end" in answer._repr_html_()


def test_every_token_of_an_answer_has_its_own_score(engine: FakeEngine) -> None:
    """Also where rows end at different steps, by an end token or at the limit."""
    v = np.random.default_rng(0).standard_normal(engine.info.width).astype(np.float32)
    requests = [Request(engine.encode("Hello"), key=f"row {i}", tokens=60 * i) for i in range(1, 8)]
    answers = collect(generate(engine, requests, [Watch(2, v)]), len(requests))
    assert {answer.reason for answer in answers} == {"end", "length"}
    for request, answer in zip(requests, answers, strict=True):
        assert engine.decode(answer.ids) == answer.text
        ids = np.array([*request.ids, *answer.ids], dtype=np.int32)
        captured = engine.forward([Row(ids)], [2])[0].residuals[0, len(request.ids) :] @ v
        np.testing.assert_allclose(answer.scores, captured, rtol=1e-3, atol=1e-4)


def test_a_long_answer_is_shown_in_one_line() -> None:
    answer = made(["word "] * 40, [2.0] * 40)
    assert repr(answer) == f"<Answer {('word ' * 12)[:57] + '...'!r}, 40 tokens, mean score +2.00, reason 'length'>"


def made(pieces: list[str], scores: list[float], midpoint: float = 0.0, reach: float = 0.0) -> Answer:
    builder = AnswerBuilder()
    for index, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
        builder.take(Token(0, index, index, piece, -1.0))
        if not math.isnan(score):
            builder.take(Score(0, index, np.array([score], np.float32)))
    builder.take(Finished(0, "length", ""))
    return builder.answer(midpoint, reach)


def test_in_a_notebook_tokens_wear_their_scores() -> None:
    shown = made(["kind", " <b>", " cold", "?"], [3.0, 1.0, 0.0, math.nan], midpoint=1.0, reach=2.0)._repr_html_()
    assert '<span style="background-color: #d9822b80" title="score +3.00">kind</span>' in shown
    assert '#3f8fd200" title="score +1.00"> &lt;b&gt;</span>' in shown
    assert '#3f8fd240" title="score +0.00"> cold</span>' in shown
    assert "<span>?</span>" in shown
    assert "<b>" not in shown
    assert "mean score +1.33, 4 tokens, reason: length" in shown
