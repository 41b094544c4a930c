"""Choosing a layer without looking at the test texts."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.errors import DataError
from localprobe.probing.choice import choose_layer, cross_validate, middle


def layered(strengths: list[float], pairs: int = 30, width: int = 24):  # type: ignore[no-untyped-def]
    """Pairs whose poles differ by another strength at each layer."""
    random = np.random.default_rng(1)
    noise = random.standard_normal((2, pairs, len(strengths), width)).astype(np.float32)
    noise[0, :, :, 0] += np.array(strengths, np.float32)
    return noise[0], noise[1]


def test_the_layer_that_tells_the_poles_apart_is_chosen() -> None:
    assert choose_layer(*layered([0.0, 0.5, 4.0, 1.0])) == 2


def test_ties_at_a_perfect_auroc_go_to_the_wider_separation() -> None:
    assert choose_layer(*layered([20.0, 60.0, 30.0])) == 1


def test_without_signal_pairs_left_out_show_none() -> None:
    areas, _ = cross_validate(*layered([0.0] * 8, pairs=60))
    assert abs(areas.mean() - 0.5) < 0.1


def test_the_same_seed_chooses_the_same_layer() -> None:
    poles = layered([1.0, 1.1, 1.2, 1.0])
    assert choose_layer(*poles, seed=3) == choose_layer(*poles, seed=3)


def test_one_pair_is_too_few() -> None:
    with pytest.raises(DataError, match="1 pair to choose a layer from"):
        choose_layer(*layered([1.0], pairs=1))


def test_the_middle_layers_are_those_of_the_paper() -> None:
    assert middle(32) == list(range(8, 25))
    assert middle(6) == [1, 2, 3, 4]
    assert middle(1) == [0]
