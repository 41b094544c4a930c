"""Knobs: a vector, a layer, a strength, and where it applies."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import Watch
from localprobe.errors import UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.steering.knob import Knob, direct_effect, steering, strength, watch
from localprobe.steering.positions import Place
from localprobe.vectors.vector import Direction, Origin, Vector

WIDTH = 32


def vector(length: float = 1.0, layers: tuple[int, ...] = (2,), best: int | None = 2) -> Vector:
    v = np.zeros(WIDTH, np.float32)
    v[3] = length
    return Vector("kindness", Origin("fake"), {b: Direction(v) for b in layers}, best)


def test_a_knob_becomes_one_term() -> None:
    (term,) = Knob(vector(), 2, 4.0, "response").terms(Place(10))
    assert (term.layer, term.start, term.stop, term.delta[3]) == (2, 9, None, 4.0)


def test_a_knob_at_zero_adds_nothing() -> None:
    assert Knob(vector(), 2, 0.0).terms(Place(10)) == ()


def test_the_prompt_positions_of_a_prompt_of_one_token_are_none() -> None:
    assert Knob(vector(), 2, 4.0, "prompt").terms(Place(1)) == ()


def test_several_knobs_add_up() -> None:
    knobs = [Knob(vector(), 2, 1.0), Knob(vector(layers=(4,)), 4, -1.0)]
    assert [(t.layer, float(t.delta[3])) for t in steering(knobs, Place(10))] == [(2, 1.0), (4, -1.0)]


def test_a_reading_is_in_units_of_the_direction_whatever_its_length() -> None:
    read: Watch = watch(vector(length=7.0), 2)
    assert np.linalg.norm(read.vector) == pytest.approx(1.0)


def test_a_dose_is_measured_in_lengths_of_residuals(engine: FakeEngine) -> None:
    model = Model(engine)
    knob = model.knob(vector(length=2.0), dose=0.5)
    assert knob.alpha * 2.0 / model.scale[2] == pytest.approx(0.5)
    assert knob.dose(model.scale) == pytest.approx(0.5)


def test_the_scale_of_the_loaded_model_wins_over_the_one_that_a_file_records(engine: FakeEngine) -> None:
    model, v = Model(engine), vector().directions[2].vector
    recorded = Vector("kindness", Origin("fake"), {2: Direction(v, scale=1000.0)}, 2)
    assert model.knob(recorded, dose=0.5).alpha == pytest.approx(0.5 * float(model.scale[2]))


def test_knobs_at_or_below_the_scored_layer_add_to_a_score_by_themselves() -> None:
    knobs = [
        Knob(vector(length=3.0), 2, 2.0),
        Knob(vector(layers=(4,)), 4, -1.0),
        Knob(vector(layers=(5,)), 5, 100.0),  # above the layer that is scored
        Knob(vector(), 2, 100.0, "prompt"),  # not at the answer's positions
    ]
    assert direct_effect(knobs, watch(vector(layers=(4,)), 4)) == pytest.approx(2.0 * 3.0 - 1.0)


def test_a_knob_is_shown_in_one_line() -> None:
    assert repr(Knob(vector(), 2, 4.0, "response")) == "<Knob 'kindness' at layer 2: alpha +4, positions response>"


def test_alpha_is_taken_as_it_is(engine: FakeEngine) -> None:
    assert Model(engine).knob(vector(), alpha=-3.0).alpha == -3.0


@pytest.mark.parametrize(
    ("alpha", "dose", "complaint"),
    [(None, None, "either `dose` or `alpha`"), (1.0, 1.0, "not both"), (float("nan"), None, "nan is not a finite")],
)
def test_a_strength_is_one_finite_number(alpha: float | None, dose: float | None, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        strength(alpha, dose)


def test_a_control_vector_of_many_layers_is_used_whole(engine: FakeEngine) -> None:
    whole = vector(layers=(1, 2, 3), best=None)
    knobs = Model(engine).knobs(whole, alpha=2.0)
    assert [(k.layer, k.alpha) for k in knobs] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert [k.layer for k in Model(engine).knobs(whole, layer=3, dose=0.1)] == [3]
    with pytest.raises(UsageError, match="layers 1 to 3: give one of them as `layer`"):
        Model(engine).knobs(whole, dose=0.1)


def test_a_vector_of_another_width_turns_no_knob(engine: FakeEngine) -> None:
    narrow = Vector("x", Origin(""), {0: Direction(np.ones(4, np.float32))}, 0)
    with pytest.raises(VectorError, match="width 4"):
        Model(engine).knob(narrow, alpha=1.0)
