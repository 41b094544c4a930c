"""What a turn keeps of the knobs that it was steered by, and of what it was scored by."""

from __future__ import annotations

import numpy as np

from localprobe.chats.turns import KnobRecord, Reading, SteeredPart
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
