"""What answers are scored by, and on what scale."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import Watch
from localprobe.steering.knob import Knob
from localprobe.steering.scoring import Scoring
from localprobe.vectors.vector import Direction, Origin, Vector

V = np.array([0, 2, 0, 0], np.float32)
FITTED = Vector("kindness", Origin("fake"), {2: Direction(V, norm=4.0, threshold=1.5)}, 2)
CONTROL = Vector("calm", Origin("fake"), {2: Direction(V)}, 2)


def test_the_midpoint_lies_between_the_poles_and_moves_with_what_is_added() -> None:
    unsteered = Scoring.of(FITTED, 2)
    steered = Scoring.of(FITTED, 2, [Knob(FITTED, 2, 10.0)])
    assert (unsteered.midpoint, unsteered.reach) == (1.5, 36.0)
    assert (steered.midpoint, steered.reach) == (1.5 + 10.0 * 2, 36.0)
    assert steered.watch.vector.tolist() == [0, 1, 0, 0]


def test_of_a_control_vector_the_poles_are_not_known() -> None:
    assert (Scoring.of(CONTROL, 2).midpoint, Scoring.of(CONTROL, 2).reach) == (0.0, 0.0)


def test_a_probe_reads_what_a_direction_writes() -> None:
    reads = np.array([3, 4, 0, 0], np.float32)
    feature = Vector("dogs", Origin("fake"), {2: Direction(V, norm=4.0, threshold=1.5, probe=reads)}, 2)
    steered = Scoring.of(feature, 2, [Knob(feature, 2, 10.0)])
    np.testing.assert_allclose(steered.watch.vector, [0.6, 0.8, 0, 0], rtol=1e-6)
    assert steered.midpoint == pytest.approx(1.5 + 10.0 * 2 * 0.8)  # what v adds along the probe
    assert steered.reach == 0.0  # the decoder's length is no distance between poles


def test_scores_are_by_the_last_knob_unless_something_else_is_named() -> None:
    knobs = [Knob(FITTED, 2, 1.0), Knob(CONTROL, 2, 1.0)]
    by_knob, by_vector, by_watch = (Scoring.by(probe, knobs) for probe in (None, FITTED, Watch(3, V)))
    assert by_knob
    assert by_vector
    assert by_watch
    assert (by_knob.reach, by_vector.reach, by_watch.reach) == (0.0, 36.0, 0.0)
    assert by_watch.midpoint == pytest.approx(2 * 4.0)  # both knobs add v, and v . v is 4
    assert Scoring.by(None, []) is None
