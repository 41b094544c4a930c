"""What random directions reach."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.probing.random_directions import random_directions
from tests.probing.planted import planted


def test_without_a_concept_they_stay_at_chance() -> None:
    found = random_directions(*planted([0.0], pairs=100)[:2], [0.5], count=400)[0]
    assert len(found.aurocs) == 400
    assert found.mean == pytest.approx(0.5, abs=0.02)
    assert found.std < 0.08
    assert found.percentile == pytest.approx(50, abs=15)


def test_a_strong_concept_in_few_dimensions_is_met_by_chance() -> None:
    """Mean 0.5 but a wide spread, as the paper's 0.50 +- 0.24: a high AUROC alone says little there."""
    strong = random_directions(*planted([12.0], pairs=100)[:2], [1.0], count=400)[0]
    assert strong.mean == pytest.approx(0.5, abs=0.06)
    assert strong.std > 0.3
    assert strong.percentile_95 > 0.95
    assert strong.z == pytest.approx((1 - strong.mean) / strong.std)
    assert strong.percentile > 90


def test_each_layer_is_compared_with_its_own_probe() -> None:
    found = random_directions(*planted([0.0, 0.0], pairs=50)[:2], [1.0, 0.0], count=100)
    assert [each.percentile for each in found] == [100, 0]


def test_residuals_that_do_not_vary_have_no_z() -> None:
    flat = np.ones((4, 1, 8), np.float32)
    assert random_directions(flat, flat, [0.5], count=100)[0].z is None
