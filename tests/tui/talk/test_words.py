"""How an answer was steered, in words."""

from __future__ import annotations

from localprobe.chats.turns import KnobRecord, SteeredPart, Turn
from localprobe_tui.talk import words


def record(steering: str, concept: str = "calm", layer: int = 2, dose: float = 0.2, alpha: float = 1.5) -> KnobRecord:
    return KnobRecord(concept, layer, dose, alpha, "all", steering)


def test_additions_are_told_by_dose_and_layer_and_the_rest_in_the_steering_language() -> None:
    knobs = [
        record(""),
        record("-0.4 kind @3 response", "kind", 3, -0.4, -2.0),
        record("ablate calm"),
        record("0.2 calm @1,3", layer=1),
        record("0.2 calm @1,3", layer=3),
        record("0.2 calm @1 when kind > 1", layer=1),
    ]
    assert words.in_words(knobs) == (
        "calm +0.20 @2, kind -0.40 @3, ablate calm, 0.2 calm @1,3, 0.2 calm @1 when kind > 1"
    )
    assert words.in_words([]) == "unsteered"


def test_a_whole_control_vector_is_told_once() -> None:
    knobs = [record("alpha 1.5 anger", "anger", layer, 0.1 * layer) for layer in (3, 4, 5)]
    assert words.in_words(knobs) == "anger alpha +1.50 @3-5"


def test_a_text_that_another_program_wrote_is_shown_as_it_is() -> None:
    assert words.in_words([record("do as you like")]) == "do as you like"


def test_gates_are_named_where_they_turn_and_one_alone_only_once() -> None:
    turn = Turn("assistant", "")
    turn.details["gates"] = [
        {"token": 3, "gate": "when calm > 1", "open": True, "score": 1.2},
        {"token": 5, "gate": "when calm > 1", "open": False, "score": 0.9},
    ]
    assert words.turned(turn) == {3: ["calm > 1: open"], 5: ["closed"]}
    turn.details["gates"].append({"token": 5, "gate": "outside thinking", "open": False, "score": None})
    assert words.turned(turn) == {3: ["calm > 1: open"], 5: ["calm > 1: closed", "outside thinking: closed"]}


def test_the_state_of_a_gate_is_that_of_its_last_turn_and_then_how_often_it_opened() -> None:
    turn = Turn("assistant", "")
    assert words.state("when calm > 1", turn, going=True) == "○ closed"
    turn.details["gates"] = [
        {"token": 0, "gate": "if harm > 2", "open": False, "score": 0.1},
        {"token": 3, "gate": "when calm > 1", "open": True, "score": 1.2},
    ]
    assert words.state("when calm > 1", turn, going=True) == "● open"
    assert words.state("when calm > 1", turn, going=False) == "opened 1 time"
    assert words.state("if harm > 2", turn, going=False) == "was closed"
    assert words.state("when calm > 1", None, going=False) == ""


def test_what_fired_is_counted_by_probe() -> None:
    turn = Turn("assistant", "")
    turn.details["alerts"] = [
        {"token": 4, "probe": "harm > 2", "score": 2.5},
        {"token": 6, "probe": "harm > 2", "score": 3.0},
        {"token": 6, "probe": "calm < 0", "score": -1.0},
    ]
    assert words.alarm_lines(turn) == [
        "harm > 2 fired at 2 tokens, first at 5 (+2.50)",
        "calm < 0 fired at 1 token, first at 7 (-1.00)",
    ]


def test_additions_at_some_tokens_only_are_not_taken_out_of_scores() -> None:
    always = SteeredPart(0, (record("0.2 calm @2"), record("ablate calm when harm > 2")))
    assert not words.conditional(always.knobs)
    for sometimes in ("0.2 calm @2 when harm > 2", "0.2 calm @2 for 5 tokens", "0.2 calm keeping norm @2"):
        assert words.conditional([record(sometimes)])
