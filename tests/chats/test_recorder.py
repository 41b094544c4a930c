"""The answer recorder: events into turns, as they come."""

from __future__ import annotations

import math

import numpy as np
import pytest

from localprobe.chats.recorder import AnswerRecorder
from localprobe.chats.turns import AlertRecord, GateRecord, KnobRecord, SteeredPart, Turn
from localprobe.generation.events import Alert, Event, Finished, GateChange, Score, Token


def token(index: int, text: str, row: int = 0) -> Token:
    return Token(row, index, 100 + index, text, -1.0)


def score(index: int, value: float, row: int = 0) -> Score:
    return Score(row, index, np.array([value], np.float32))


def record(recorder: AnswerRecorder, *steps: list[Event], start: float = 10.0) -> None:
    """Give a recorder steps, four a second."""
    for number, events in enumerate(steps):
        recorder.take(events, at=start + number / 4)


def test_a_turn_grows_with_its_tokens_and_each_score_reaches_its_own() -> None:
    turn = Turn("assistant", "")
    recorder = AnswerRecorder([turn])
    record(recorder, [token(0, "To")], [score(0, 1.5), token(1, " be")])
    assert (turn.content, turn.pieces, turn.reason) == ("To be", ["To", " be"], "")
    assert turn.scores[0] == 1.5
    assert math.isnan(turn.scores[1])
    record(recorder, [score(1, -2.0), Finished(0, "end", "!")], start=11.0)
    assert (turn.content, turn.pieces, turn.scores, turn.reason) == ("To be!", ["To", " be!"], [1.5, -2.0], "end")


def test_rows_of_a_batch_go_into_their_own_turns() -> None:
    turns = Turn("assistant", ""), Turn("assistant", "")
    record(AnswerRecorder(turns), [token(0, "A"), token(0, "B", row=1)], [score(0, 3.0, row=1), Finished(1, "end", "")])
    assert [turn.content for turn in turns] == ["A", "B"]
    assert turns[1].scores == [3.0]
    assert [turn.reason for turn in turns] == ["", "end"]


def test_an_answer_that_is_continued_keeps_what_it_has() -> None:
    turn = Turn("assistant", "To be", pieces=["To", " be"], scores=[1.0, 2.0])
    record(AnswerRecorder([turn]), [token(0, " heard")], [score(0, 3.0), Finished(0, "length", ".")])
    assert (turn.content, turn.pieces) == ("To be heard.", ["To", " be", " heard."])
    assert turn.scores == [1.0, 2.0, 3.0]


def test_an_answer_that_ends_at_once_leaves_no_token() -> None:
    turn = Turn("assistant", "")
    record(AnswerRecorder([turn]), [Finished(0, "end", "")])
    assert (turn.content, turn.pieces, turn.scores, turn.reason) == ("", [], [], "end")


def test_the_rate_is_of_steps_a_second() -> None:
    recorder = AnswerRecorder([Turn("assistant", "")])
    record(recorder, *([token(i, "x")] for i in range(5)))
    assert recorder.rate == pytest.approx(4.0)


def test_a_text_that_repeats_itself_is_found_degenerate_when_it_ends() -> None:
    turn = Turn("assistant", "")
    words: list[Event] = [token(i, "so ") for i in range(60)]
    record(AnswerRecorder([turn]), words, [Finished(0, "length", "")])
    assert turn.details["degenerate"]


def test_of_several_changes_before_one_token_the_last_one_counts() -> None:
    turn = Turn("assistant", "", parts=[SteeredPart(0)])
    recorder = AnswerRecorder([turn])
    low, high = KnobRecord("kindness", 2, 0.1, 5.0, "all"), KnobRecord("kindness", 2, 0.2, 10.0, "all")
    recorder.mark(SteeredPart(4, (low,)))
    recorder.mark(SteeredPart(4, (high,)))
    recorder.mark(SteeredPart(6, (high,)))
    assert turn.parts == [SteeredPart(0), SteeredPart(4, (high,))]


def test_gates_that_turn_and_probes_that_fire_are_kept_with_their_tokens() -> None:
    turn = Turn("assistant", "")
    decided = GateChange(0, 0, "if harm > 2", False, 0.5)
    opened = GateChange(0, 2, "when calm > 1", True, 1.234567)
    fired = Alert(0, 1, "harm > 2", 2.5, 2.0)
    record(AnswerRecorder([turn]), [decided, token(0, "a")], [token(1, "b")], [fired, opened, token(2, "c")])
    assert turn.gates == [GateRecord(0, "if harm > 2", False, 0.5), GateRecord(2, "when calm > 1", True, 1.23457)]
    assert turn.alerts == [AlertRecord(1, "harm > 2", 2.5)]


def test_an_answer_without_gates_and_alarms_keeps_no_word_of_them() -> None:
    turn = Turn("assistant", "")
    record(AnswerRecorder([turn]), [token(0, "a")], [Finished(0, "length", "")])
    assert not {"gates", "alerts"} & set(turn.details)


def test_a_gate_that_is_open_when_an_answer_ends_is_closed_where_it_is_continued() -> None:
    turn = Turn("assistant", "ab", pieces=["a", "b"], scores=[1.0, 2.0])
    kept = [
        {"token": 0, "gate": "if harm > 2", "open": True, "score": 3.0},
        {"token": 1, "gate": "when calm > 1", "open": True, "score": 1.5},
    ]
    turn.details = {"gates": list(kept), "alerts": [{"token": 1, "probe": "harm > 2", "score": 3.0}]}
    again = [GateChange(0, 0, "if harm > 2", True, 3.0), token(0, "c")]
    record(
        AnswerRecorder([turn]), again, [Alert(0, 0, "harm > 2", 4.0, 2.0), GateChange(0, 1, "when calm > 1", True, 2.0)]
    )
    assert [(each.token, each.gate, each.open) for each in turn.gates] == [
        (0, "if harm > 2", True),
        (1, "when calm > 1", True),
        (2, "when calm > 1", False),
        (2, "if harm > 2", True),
        (3, "when calm > 1", True),
    ]
    assert turn.alerts == [AlertRecord(1, "harm > 2", 3.0), AlertRecord(2, "harm > 2", 4.0)]
