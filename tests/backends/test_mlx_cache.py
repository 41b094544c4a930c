"""Where keys and values go, and what each query may see of them."""

from __future__ import annotations

import os

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")

import mlx.core as mx

from localprobe_mlx.cache import LayerCache, NoCache, Place

pytestmark = pytest.mark.mlx


def keys(*rows: list[int]) -> mx.array:
    """Keys (rows, 1, length, 1) that hold these numbers."""
    return mx.array(np.array(rows, np.float32)[:, None, :, None])


def held(cache: LayerCache) -> list[list[float]]:
    return np.array(cache.arrays[0])[:, 0, :, 0].tolist()


def run(cache: LayerCache, place: Place, new: mx.array) -> list[list[float]]:
    """What a layer gets back for its new keys."""
    cache.place = place
    got, values = cache.update_and_fetch(new, -new)
    assert values.tolist() == (-got).tolist()
    return np.array(got)[:, 0, :, 0].tolist()


def test_rows_at_the_same_position_share_an_offset() -> None:
    cache = LayerCache(None, rows=2, slots=4)
    assert run(cache, Place([0, 0], 2), keys([1, 2], [3, 4])) == [[1, 2], [3, 4]]
    assert cache.offset == 0
    assert run(cache, Place([2, 2], 1), keys([5], [6])) == [[1, 2, 5], [3, 4, 6]]
    assert cache.offset == 2


def test_rows_at_different_positions_write_into_their_own_slots() -> None:
    cache = LayerCache(None, rows=2, slots=5)
    run(cache, Place([0, 0], 3), keys([1, 2, 3], [4, 0, 0]))  # the second row is padded
    assert run(cache, Place([3, 1], 1), keys([5], [6])) == [[1, 2, 3, 5], [4, 6, 0, 0]]
    assert cache.offset.tolist() == [3, 1]


def test_going_back_overwrites() -> None:
    cache = LayerCache(None, rows=1, slots=4)
    run(cache, Place([0], 3), keys([1, 2, 3]))
    assert run(cache, Place([1], 1), keys([9])) == [[1, 9]]


def test_one_row_of_several_can_run_alone() -> None:
    cache = LayerCache(None, rows=2, slots=3)
    run(cache, Place([0, 0], 1), keys([1], [2]))
    assert run(cache, Place([1], 1, rows=slice(1, 2)), keys([7])) == [[2, 7]]
    assert held(cache) == [[1, 0, 0], [2, 7, 0]]


def test_take_and_grow() -> None:
    cache = LayerCache(None, rows=2, slots=2)
    run(cache, Place([0, 0], 2), keys([1, 2], [3, 4]))
    cache.take(mx.array([1, 1, 0]))
    cache.grow(3)
    assert held(cache) == [[3, 4, 0], [3, 4, 0], [1, 2, 0]]
    cache.grow(1)
    assert held(cache)[0] == [3, 4, 0]


def test_rows_of_another_cache_come_after_those_of_this_one() -> None:
    cache, other = LayerCache(None, rows=1, slots=3), LayerCache(None, rows=2, slots=4)
    run(cache, Place([0], 2), keys([1, 2]))
    run(other, Place([0, 0], 4), keys([3, 4, 5, 9], [6, 7, 8, 9]))
    cache.append(other, mx.array([1, 1]), slots=2)
    assert held(cache) == [[1, 2, 0], [6, 7, 8], [6, 7, 8]]
    cache.append(other, mx.array([0]), slots=5)
    assert held(cache) == [[1, 2, 0, 0, 0], [6, 7, 8, 0, 0], [6, 7, 8, 0, 0], [3, 4, 5, 9, 0]]
    cache.take(mx.array([0, 3]), slots=4)
    assert held(cache) == [[1, 2, 0, 0], [3, 4, 5, 9]]
    cache.cut(1)
    assert run(cache, Place([2], 1), keys([7])) == [[1, 2, 7]]
    assert held(cache) == [[1, 2, 7, 0]]


def test_positions_of_a_row_are_copied() -> None:
    cache = LayerCache(None, rows=2, slots=4)
    run(cache, Place([0, 0], 3), keys([1, 2, 3], [4, 5, 6]))
    copy = cache.copied(1, 2)
    run(cache, Place([0, 0], 1), keys([8], [9]))
    assert held(copy) == [[4, 5]]
    new = LayerCache(None, rows=2, slots=3)
    new.put(1, copy, 2)
    new.put(0, copy, 1)
    assert held(new) == [[4, 0, 0], [4, 5, 0]]
    assert held(copy) == [[4, 5]]


def test_masks_of_a_prefill() -> None:
    cache = NoCache(None)
    cache.place = Place([0, 0], 3)
    assert cache.make_mask(3) == "causal"
    assert cache.make_mask(3, return_array=True).tolist() == np.tri(3, dtype=bool).tolist()
    assert cache.make_mask(3, window_size=2).tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, True],
    ]


def test_masks_of_a_decoding_step() -> None:
    cache = LayerCache(None, rows=2, slots=8)
    cache.place = Place([4, 4], 1)
    assert cache.make_mask(1) is None
    assert cache.make_mask(1, return_array=True) is None
    assert cache.make_mask(1, window_size=5) is None
    assert cache.make_mask(1, window_size=2).tolist() == [[False, False, False, True, True]]


def test_masks_of_rows_at_different_positions() -> None:
    cache = LayerCache(3, rows=2, slots=8)
    cache.place = Place([4, 1], 1)
    assert cache.make_mask(1).shape == (2, 1, 1, 5)
    assert cache.make_mask(1)[:, 0, 0].tolist() == [[False, False, True, True, True], [True, True, False, False, False]]
    cache.place = Place([4, 1], 1, mask_axes=2)
    assert cache.make_mask(1).shape == (2, 1, 1, 1, 5)


def test_the_layers_own_window_is_the_default() -> None:
    cache = NoCache(2)
    cache.place = Place([0], 3)
    assert cache.make_mask(3).tolist() == cache.make_mask(3, window_size=2).tolist()
