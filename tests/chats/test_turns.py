"""What a turn keeps of the knobs that it was steered by, and of what it was scored by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from localprobe.chats.turns import KnobRecord, Reading, SteeredPart, Turn
from localprobe.steering.knob import Knob, watch
from localprobe.vectors.vector import Direction, Origin, Vector

V = np.array([0, 2, 0, 0], np.float32)
VECTOR = Vector("kindness", Origin("fake"), {1: Direction(V, norm=4.0, threshold=1.5)}, 1)
SCALE = np.array([10, 40], np.float32)


def test_a_part_keeps_its_knobs_in_both_units_and_what_they_add_to_a_score() -> None:
    part = SteeredPart.of([Knob(VECTOR, 1, 5.0, "response")], SCALE, watch(VECTOR, 1), start=3, scored=2)
    assert part == SteeredPart(
        3, (KnobRecord("kindness", 1, 0.25, 5.0, "response", "0.25 kindness @1 response"),), added=10.0, scored=2
    )


def test_where_nothing_is_scored_nothing_is_added() -> None:
    assert SteeredPart.of([Knob(VECTOR, 1, 5.0)], SCALE, None, 0, 0).added == 0.0


def test_a_reading_is_of_a_direction_and_its_poles() -> None:
    assert Reading.of(VECTOR, 1) == Reading("kindness", 1, threshold=1.5, norm=4.0)


def test_a_record_says_its_term_and_an_addition_is_put_in_words() -> None:
    ablation = Knob(VECTOR, 1, 0.5, operator="ablate", layers=(0, 1), source=1, text="ablate 0.5 kindness")
    assert KnobRecord.of(ablation, SCALE).steering == "ablate 0.5 kindness"
    assert KnobRecord.of(Knob(VECTOR, 1, -5.0, "first 5", tokens=3), SCALE).steering == (
        "-0.25 kindness @1 first 5 for 3 tokens"
    )


@pytest.mark.parametrize(
    "knob",
    [
        Knob(VECTOR, 1, 0.5, operator="ablate"),
        Knob(VECTOR, 1, math.inf),
        Knob(Vector(" ", Origin("fake"), VECTOR.directions, 1), 1, 5.0),
    ],
)
def test_what_the_language_has_no_words_for_is_kept_without(knob: Knob) -> None:
    assert KnobRecord.of(knob, SCALE).steering == ""


def test_what_acts_at_some_tokens_only_is_not_taken_out_of_scores() -> None:
    always, sometimes = Knob(VECTOR, 1, 5.0), Knob(VECTOR, 1, 5.0, tokens=3)
    part = SteeredPart.of([always, sometimes], SCALE, watch(VECTOR, 1), 0, 0)
    turn = Turn("assistant", "a", pieces=["a"], scores=[12.0], parts=[part])
    assert (part.added, turn.own()) == (10.0, [2.0])
