"""Directions added, subtracted, scaled and made orthogonal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from localprobe.errors import DataError, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.fit import probe_of
from localprobe.steering.positions import Place, term
from localprobe.vectors import arithmetic
from localprobe.vectors.vector import Direction, Origin, Vector


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float64)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def vector(concept: str, rows: dict[int, np.ndarray], best: int | None = None, **origin: object) -> Vector:
    """A vector as a fit leaves it."""
    directions = {b: Direction(row, 2.0, 0.5, 10.0 + b, {"auroc": 0.9}) for b, row in rows.items()}
    about = {"model": "fake", "weights": "w", "architecture": "llama", "width": 2, "layers": 6, "pooling": "mean"}
    return Vector(concept, Origin(**{**about, **origin}), directions, best)  # type: ignore[arg-type]


KIND = vector("kind", {1: unit(1, 0), 2: unit(3, 4)}, 2, trained_on=("a", "b"), engine="torch")
LONG = vector("long", {2: unit(0, 1), 3: unit(1, 1)}, 3, trained_on=("b", "c"), engine="llama")


def test_a_sum_is_taken_at_the_layers_that_both_have() -> None:
    both = arithmetic.add(KIND, LONG)
    assert both.concept == "kind + long"
    assert sorted(both.directions) == [2]
    np.testing.assert_allclose(both.directions[2].vector, [0.6, 1.8], rtol=1e-6)
    assert both.directions[2].vector.dtype == np.float32


def test_a_difference() -> None:
    less = arithmetic.subtract(KIND, LONG)
    assert less.concept == "kind - long"
    np.testing.assert_allclose(less.directions[2].vector, [0.6, -0.2], atol=1e-6)


def test_what_lies_along_another_is_taken_out() -> None:
    rest = arithmetic.orthogonalise(KIND, LONG)
    assert rest.concept == "kind without long"
    np.testing.assert_allclose(rest.directions[2].vector, [0.6, 0.0], atol=1e-6)


def test_what_a_result_says_of_itself() -> None:
    both = arithmetic.add(KIND, LONG)
    direction = both.directions[2]
    assert direction.norm == pytest.approx(direction.length) == pytest.approx(np.hypot(0.6, 1.8))
    assert (direction.threshold, direction.scale, direction.measures) == (0.0, 12.0, {})
    assert both.best == 2  # the first's
    origin = both.origin
    assert (origin.model, origin.weights, origin.width, origin.pooling) == ("fake", "w", 2, "mean")
    assert (origin.method, origin.engine) == ("arithmetic", "")  # the two engines differ
    assert origin.trained_on == ("a", "b", "c")


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [(3, 1, 3), (0, 3, 1), (5, 1, 4), (None, 3, 3), (None, None, None)],
)
def test_the_layer_to_use_is_the_nearest_that_both_have(
    first: int | None, second: int | None, best: int | None
) -> None:
    a = vector("a", {b: unit(1, 0) for b in (0, 1, 2, 3, 4, 5)}, first)
    b = vector("b", {b: unit(0, 1) for b in (1, 2, 3, 4)}, second)
    assert arithmetic.add(a, b).best == best


def test_a_residual_length_that_one_file_lacks_is_taken_from_the_other() -> None:
    bare = dataclasses.replace(KIND, directions={2: Direction(unit(1, 1))})
    assert arithmetic.add(bare, LONG).directions[2].scale == 12.0


def test_scaling_keeps_what_was_found_along_a_direction() -> None:
    half = arithmetic.scale(KIND, 0.5)
    assert (half.concept, half.origin, half.best) == ("kind", KIND.origin, 2)
    direction = half.directions[2]
    assert direction.length == pytest.approx(0.5)
    assert (direction.norm, direction.threshold, direction.scale) == (2.0, 0.5, 12.0)
    assert direction.measures == {"auroc": 0.9}


def test_a_direction_turned_round_is_another() -> None:
    turned = arithmetic.scale(KIND, -2)
    assert (turned.concept, turned.origin.method) == ("-kind", "arithmetic")
    direction = turned.directions[1]
    assert direction.vector.tolist() == [-2, 0]
    assert (direction.threshold, direction.measures) == (-0.5, {})


def test_a_probe_stays_with_a_scaled_direction_only() -> None:
    direction = dataclasses.replace(KIND.directions[2], probe=unit(1, 1))
    read = dataclasses.replace(KIND, directions={2: direction})
    for factor in (2.0, -2.0):
        (scaled,) = arithmetic.scale(read, factor).directions.values()
        assert scaled.probe is not None
        np.testing.assert_allclose(scaled.unit, np.sign(factor) * unit(1, 1), rtol=1e-6)
        assert scaled.threshold == np.sign(factor) * 0.5
    for combined in (arithmetic.add(read, LONG), arithmetic.orthogonalise(read, LONG)):
        assert combined.directions[2].probe is None
        assert combined.directions[2].threshold == 0


def test_formulas_are_grouped_as_they_were_made() -> None:
    assert arithmetic.subtract(KIND, arithmetic.add(KIND, LONG)).concept == "kind - (kind + long)"
    assert arithmetic.scale(arithmetic.add(KIND, LONG), -1).concept == "-(kind + long)"


def test_a_dose_of_a_result_is_alpha_times_its_length_over_the_residual_length(engine: FakeEngine) -> None:
    random = np.random.default_rng(0)
    with Model(engine) as model:
        origin = Origin.of(engine.info, method="mean-difference", pooling="mean")
        a, b = (
            Vector(name, origin, {3: Direction(unit(*random.standard_normal(32)), scale=float(model.scale[3]))}, 3)
            for name in "ab"
        )
        both = arithmetic.add(a, b)
        knob = model.knob(both, dose=0.2)
        added = np.linalg.norm(knob.terms(Place(5))[0].delta)
        assert added == pytest.approx(0.2 * both.directions[3].scale, rel=1e-5)


def test_a_result_is_no_probe() -> None:
    with pytest.raises(DataError, match="of other lengths, not a probe"):
        probe_of(arithmetic.add(KIND, LONG), [2])


def test_a_length_of_1_makes_a_dose_at_strength_1() -> None:
    dosed = arithmetic.at_dose(KIND, -0.25)
    for layer, direction in dosed.directions.items():
        assert direction.dose(1.0, direction.scale) == pytest.approx(0.25, rel=1e-6)
        assert direction.vector @ KIND.directions[layer].vector < 0


def test_a_dose_needs_the_residual_length() -> None:
    bare = dataclasses.replace(KIND, directions={4: Direction(unit(1, 1))})
    with pytest.raises(UsageError, match=r"kind does not record the residual length at layer 4.* give an alpha"):
        arithmetic.at_dose(bare, 0.1)


def test_some_layers_alone() -> None:
    assert sorted(arithmetic.only(KIND, [1]).directions) == [1]
    assert arithmetic.only(KIND, [1]).layer() == 1
    assert arithmetic.only(KIND, [2, 1]).best == 2
    with pytest.raises(UsageError, match="kind has no direction at layer 3: it has layers 1, 2"):
        arithmetic.only(KIND, [1, 3])
    with pytest.raises(UsageError, match="at least one layer of kind"):
        arithmetic.only(KIND, [])


def test_cosines_are_of_the_layers_that_both_have() -> None:
    assert arithmetic.cosines(KIND, LONG) == {2: pytest.approx(0.8)}
    assert arithmetic.cosines(KIND, arithmetic.scale(KIND, -3)) == {1: pytest.approx(-1), 2: pytest.approx(-1)}


def test_no_layer_in_common_is_an_error() -> None:
    with pytest.raises(VectorError, match="'kind' and 'low' have no layer in common: they have layers 1, 2 and 0"):
        arithmetic.add(KIND, vector("low", {0: unit(1, 1)}))


def test_another_width_is_an_error_that_names_both_models() -> None:
    wide = vector("wide", {2: unit(1, 1, 1)}, model="")
    with pytest.raises(VectorError, match=r"'kind' has width 2 and 'wide' has 3: .* for fake and an unnamed model"):
        arithmetic.add(KIND, wide)


def test_another_model_is_a_warning_that_names_both() -> None:
    (warning,) = arithmetic.check(KIND, vector("other", {2: unit(1, 1)}, model="qwen", weights="v"))
    assert warning == "'kind' was made for fake, 'other' for qwen: do not expect the combination to work"


@pytest.mark.parametrize(
    "origin", [{"weights": "of a 4-bit copy"}, {"model": ""}, {"model": "fake under another name"}]
)
def test_other_weights_of_a_model_are_the_normal_case(origin: dict[str, str]) -> None:
    assert arithmetic.check(KIND, vector("other", {2: unit(1, 1)}, **origin)) == ()


@pytest.mark.parametrize("operation", [arithmetic.subtract, arithmetic.orthogonalise])
def test_nothing_left_is_an_error(operation) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(VectorError, match="leaves nothing at layers 1, 2: the two are parallel"):
        operation(KIND, KIND)


def test_a_layer_where_two_cancel_is_left_out_with_a_notice() -> None:
    a = vector("a", {1: unit(1, 0), 2: unit(1, 0), 3: unit(1, 0)}, best=2)
    b = vector("b", {1: unit(0, 1), 2: -unit(1, 0), 3: -unit(1, 0)})
    result = arithmetic.add(a, b)
    assert sorted(result.directions) == [1]
    assert result.best == 1
    assert result.notices == ("a + b leaves nothing at layers 2, 3, where the two are parallel: left out",)


def test_what_rounding_leaves_is_nothing() -> None:
    third = arithmetic.scale(KIND, 1 / 3)  # not quite along it, in float32
    with pytest.raises(VectorError, match="kind without kind leaves nothing"):
        arithmetic.orthogonalise(third, KIND)


@pytest.mark.parametrize(
    ("factor", "error", "complaint"),
    [
        (0, UsageError, "factor 0 leaves nothing"),
        (float("nan"), UsageError, "factor nan is not a finite number"),
        (float("-inf"), UsageError, "factor -inf is not a finite number"),
        (1e39, VectorError, r"kind times 1e\+39: the direction at layer 1 holds NaN or infinity in float32"),
        (1e-50, VectorError, "kind times 1e-50: the direction at layer 1 is zero in float32"),
    ],
)
def test_a_factor_that_leaves_no_direction_is_refused(factor: float, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        arithmetic.scale(KIND, factor)


def test_a_dose_of_0_is_refused() -> None:
    with pytest.raises(UsageError, match="dose 0 leaves nothing"):
        arithmetic.at_dose(KIND, 0.0)


WIDTH = 5
VALUES = hnp.arrays(np.float32, WIDTH, elements=st.floats(-100, 100, width=32)).filter(
    lambda v: np.abs(v).max() > 0.125
)
FACTORS = st.floats(0.001, 1000) | st.floats(-1000, -0.001)


@settings(deadline=None)
@given(VALUES, FACTORS)
def test_scaling_is_to_the_bit_what_steering_at_that_alpha_adds(values: np.ndarray, factor: float) -> None:
    scaled = arithmetic.scale(vector("v", {1: values}), factor).directions[1].vector
    assert scaled.tobytes() == term(1, values, factor).delta.tobytes()


@settings(deadline=None)
@given(VALUES, st.integers(-60, 60))
def test_scaling_by_a_power_of_two_and_back_loses_nothing(values: np.ndarray, power: int) -> None:
    values[np.abs(values) < 1e-15] = 0  # those would fall under what float32 holds exactly
    there = arithmetic.scale(vector("v", {1: values}), 2.0**power)
    assert arithmetic.scale(there, 2.0**-power).directions[1].vector.tobytes() == values.tobytes()


@settings(deadline=None)
@given(VALUES, VALUES)
def test_a_sum_does_not_mind_the_order_and_a_difference_takes_it_back(x: np.ndarray, y: np.ndarray) -> None:
    a, b = vector("a", {1: x}), vector("b", {1: y})
    try:
        one, other = arithmetic.add(a, b), arithmetic.add(b, a)
        back = arithmetic.subtract(one, b)
    except VectorError as error:
        assert "leaves nothing" in str(error)
        return
    assert one.directions[1].vector.tobytes() == other.directions[1].vector.tobytes()
    assert one.directions[1].vector.tobytes() == (x + y).tobytes()  # rounded once
    np.testing.assert_allclose(back.directions[1].vector, x, atol=2e-5)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_what_is_orthogonalised_has_no_part_along_the_other_and_keeps_the_rest(x: np.ndarray, y: np.ndarray) -> None:
    a, b = vector("a", {1: x}), vector("b", {1: y})
    try:
        rest = arithmetic.orthogonalise(a, b)
    except VectorError:
        assert abs(arithmetic.cosines(a, b)[1]) == pytest.approx(1)
        return
    left = rest.directions[1].vector.astype(np.float64)
    along = y.astype(np.float64) / np.linalg.norm(y)
    assert abs(left @ along) <= 1e-6 * np.linalg.norm(x)
    np.testing.assert_allclose(left + (x @ along) * along, x, atol=1e-5 * np.linalg.norm(x))
