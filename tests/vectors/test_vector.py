"""Directions and vectors: strengths, layers, and what they say of themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from localprobe.errors import UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.vectors.vector import Direction, Origin, Vector

LONG = Direction(np.array([0, 3, 4, 0], np.float32), scale=40.0)  # of length 5


def made(engine: FakeEngine, layers: tuple[int, ...] = (1, 3), best: int | None = 3, scale: float = 9.0) -> Vector:
    direction = Direction(np.ones(engine.info.width, np.float32), 2.0, 0.5, scale, {"auroc": 0.9})
    origin = Origin.of(engine.info, method="mean-difference", pooling="mean", trained_on=("a" * 64, "b" * 64))
    return Vector("kindness", origin, dict.fromkeys(layers, direction), best)


def test_dose_and_alpha_are_each_others_inverse() -> None:
    assert LONG.alpha(0.25, scale=100.0) == 5.0
    assert LONG.dose(5.0, scale=100.0) == 0.25


def test_the_length_of_very_large_and_very_small_numbers_is_a_number() -> None:
    assert Direction(np.array([3e30, 4e30], np.float32)).length == pytest.approx(5e30)
    assert Direction(np.array([3e-30, 4e-30], np.float32)).length == pytest.approx(5e-30)


def test_the_origin_says_what_a_vector_was_made_on(engine: FakeEngine) -> None:
    origin = made(engine).origin
    assert (origin.model, origin.weights, origin.width, origin.layers) == ("fake", engine.info.weights, 32, 6)
    assert origin.bos is True
    assert origin.template != ""


def test_a_layer_is_the_one_asked_for_or_the_best(engine: FakeEngine) -> None:
    assert made(engine).layer() == 3
    assert made(engine).layer(1) == 1
    with pytest.raises(UsageError, match="kindness has no direction at layer 2: it has layers 1, 3"):
        made(engine).layer(2)
    with pytest.raises(UsageError, match="at layers 1 to 4: give one of them as `layer`"):
        made(engine, (1, 2, 3, 4), None).layer()


def test_a_vector_of_another_width_is_an_error(engine: FakeEngine) -> None:
    narrow = Vector("x", Origin("other-model"), {0: Direction(np.ones(8, np.float32))}, 0)
    with pytest.raises(VectorError, match="'x' has width 8, but fake has 32: it was made for other-model"):
        narrow.check_compatible(engine.info)


def test_a_layer_that_the_model_does_not_have_is_an_error(engine: FakeEngine) -> None:
    deep = Vector("x", Origin("fake"), {17: Direction(np.ones(32, np.float32))}, 17)
    with pytest.raises(VectorError, match="at layer 17, but fake has layers 0 to 5"):
        deep.check_compatible(engine.info)


def foreign(layers: tuple[int, ...], best: int | None = None, of: int = 0) -> Vector:
    """A vector of another program, which seldom records how many layers its model has."""
    direction = Direction(np.ones(32, np.float32))
    return Vector("happy", Origin("", layers=of, version=""), dict.fromkeys(layers, direction), best)


def test_what_lies_past_the_last_block_is_left_out_with_a_notice(engine: FakeEngine) -> None:
    vector, info = foreign((4, 5, 6, 7)), engine.info
    usable = vector.within(info.model, info.layers, info.width)
    assert (sorted(usable.directions), usable.best) == ([4, 5], None)
    notice = "vector 'happy': the directions at layers 6, 7 are past the last block of fake (5): left out"
    assert usable.notices == vector.check_compatible(info) == (notice,)
    assert usable.within(info.model, info.layers, info.width) is usable
    assert foreign((5, 6)).within(info.model, info.layers, info.width).best == 5


@pytest.mark.parametrize(
    "vector",
    [foreign((6, 7)), foreign((5, 6), best=6), foreign((5, 6), of=28)],
    ids=["nothing left", "the one to use", "of a deeper model"],
)
def test_what_is_not_of_this_model_is_refused_all_the_same(vector: Vector, engine: FakeEngine) -> None:
    with pytest.raises(VectorError, match="'happy' has a direction at layer 6, but fake has layers 0 to 5"):
        vector.check_compatible(engine.info)


def test_another_base_model_is_a_warning_that_names_both(engine: FakeEngine) -> None:
    (warning,) = Vector("x", Origin("qwen"), {0: Direction(np.ones(32, np.float32))}, 0).check_compatible(engine.info)
    assert "made for qwen, not for fake" in warning


def test_other_weights_of_the_same_model_are_the_normal_case(engine: FakeEngine) -> None:
    origin = dataclasses.replace(made(engine).origin, weights="of a 4-bit copy")
    assert dataclasses.replace(made(engine), origin=origin).check_compatible(engine.info) == ()


@pytest.mark.parametrize(("measured", "told"), [(9.0, 0), (9.8, 0), (8.3, 0), (10.0, 1), (8.0, 1)])
def test_a_file_whose_residual_lengths_differ_by_more_than_a_tenth_is_told_of(
    engine: FakeEngine, measured: float, told: int
) -> None:
    scale = np.full(engine.info.layers, measured, np.float32)
    assert len(made(engine).check_scale(scale, [1, 3])) == told


def test_the_layer_that_differs_most_is_named_with_both_lengths(engine: FakeEngine) -> None:
    scale = np.array([1, 12, 1, 4, 1, 1], np.float32)
    (line,) = made(engine).check_scale(scale, [1, 3])
    assert "at layer 3 the residuals of this model have a median length of 4" in line
    assert "records 9" in line
    assert made(engine).check_scale(scale, [1])[0].startswith("at layer 1 ")


def test_residual_lengths_that_a_file_does_not_record_are_not_compared(engine: FakeEngine) -> None:
    assert made(engine, scale=0.0).check_scale(np.ones(6, np.float32), [1, 3]) == ()


def test_they_are_shown_in_one_line(engine: FakeEngine) -> None:
    vector = made(engine)
    assert repr(vector) == "<Vector 'kindness' for fake: layers 1, 3, best 3>"
    assert repr(vector.origin) == "<Origin fake: mean-difference, mean, fake, 2 pairs>"
    assert repr(LONG) == "<Direction of width 4: |v| 5, norm 1, threshold 0, scale 40>"
    read = dataclasses.replace(LONG, probe=np.ones(4, np.float32))
    assert repr(read).endswith("scale 40, read by a probe of its own>")


def test_what_reads_a_direction_has_length_1() -> None:
    assert LONG.probe_cosine == pytest.approx(1)
    np.testing.assert_allclose(LONG.unit, LONG.vector / 5)
    read = dataclasses.replace(LONG, probe=np.array([0, 0, 2, 0], np.float32))
    assert read.unit.tolist() == [0, 0, 1, 0]
    assert read.probe_cosine == pytest.approx(float(LONG.vector[2]) / 5)
