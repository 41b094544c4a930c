"""The span of vectors, and rows without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from localprobe.baking.subspace import basis, without
from localprobe.errors import UsageError
from localprobe.vectors.vector import Vector

Made = Callable[..., Vector]


def test_one_vector_gives_its_unit_direction_up_to_sign(vector: Made) -> None:
    one = vector(0)
    found = basis([one], [2])
    assert found.shape == (64, 1)
    direction = one.directions[2].vector.astype(np.float64)
    assert abs(found[:, 0] @ direction) == pytest.approx(np.linalg.norm(direction))


def test_several_vectors_give_orthonormal_columns_that_span_them(vector: Made) -> None:
    vectors = [vector(0), vector(1), vector(2)]
    found = basis(vectors, [1, 2, 2])
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-12)
    rows = np.stack([vectors[0].directions[1].vector, vectors[1].directions[2].vector]).astype(np.float64)
    np.testing.assert_allclose(without(rows, found, 1.0), 0, atol=1e-12)


def test_a_vector_in_the_span_of_the_others_is_refused_by_its_name(vector: Made) -> None:
    with pytest.raises(UsageError, match="'twin' at layer 2 lies in the span of the directions before it"):
        basis([vector(0), vector(0, "twin")], [2, 2])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_is_what_goes_of_the_part_along_it_and_nothing_else_changes(vector: Made, share: float) -> None:
    directions = basis([vector(0), vector(1)], [2, 2])
    rows = np.random.default_rng(5).standard_normal((7, 64))
    left = without(rows, directions, share)
    np.testing.assert_allclose(left @ directions, (1 - share) * rows @ directions, atol=1e-12)
    across = rows - rows @ directions @ directions.T
    np.testing.assert_allclose(left - left @ directions @ directions.T, across, atol=1e-12)
