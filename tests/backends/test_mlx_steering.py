"""Terms of a batch as arrays of MLX: each row and position is edited as the terms say."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")

import mlx.core as mx

from localprobe.edits import edited
from localprobe.engine import Coordinates, Steering, Term
from localprobe_mlx.blocks import Climb
from localprobe_mlx.steering import Steerings, steer

pytestmark = pytest.mark.mlx

HIDDEN = np.random.default_rng(0).normal(size=(6, 7, 16)).astype(np.float32)
D = np.ascontiguousarray(np.linalg.qr(np.random.default_rng(1).normal(size=(16, 4)))[0].T, dtype=np.float32)
NO = np.zeros(3, np.float32)
MIXED: list[Steering] = [
    (),
    (Term.along(0, Coordinates(D[:1], NO[:1], share=1.0), 2), Term(0, D[3], 0, 5)),
    (Term.along(0, Coordinates(D[:3], NO + 2, share=0.5)), Term(0, 3 * D[1], keep_norm=True)),
    (Term(0, 2 * D[0], 3, 4, keep_norm=True), Term.along(0, Coordinates(D[:1], NO[:1], low=-0.1, high=0.2))),
    (Term.along(0, Coordinates(D[1:2], NO[:1] + 1, 0.5, 0.3, 0.6), 1, 6),),
    (Term.along(0, Coordinates(D[2:3], NO[:1], low=-50, high=50)),),
]
"""Rows of a batch that all edit in their own way; the last one caps nothing."""


@pytest.mark.parametrize(("dtype", "eps"), [(mx.float32, 1.2e-7), (mx.bfloat16, 2**-7), (mx.float16, 2**-10)])
def test_rows_of_a_batch_get_their_own_edits_rounded_once(dtype: mx.Dtype, eps: float) -> None:
    hidden = mx.array(HIDDEN).astype(dtype)
    before = np.array(hidden.astype(mx.float32))
    layer = Steerings(MIXED).at([0] * 6, 7)[0]
    assert steer(hidden, layer).dtype == dtype
    after = np.array(steer(hidden, layer).astype(mx.float32))
    for row, steering in enumerate(MIXED):
        expected = before[row].copy()
        for term in steering:
            expected[term.start : term.stop] = edited(expected[term.start : term.stop], term)
        np.testing.assert_allclose(after[row], expected, rtol=eps, atol=2e-6)
        left = [not any(term.covers(position) for term in steering) for position in range(7)]
        np.testing.assert_array_equal(after[row, left], before[row, left])
    np.testing.assert_array_equal(after[5], before[5])


def test_edits_are_kept_until_a_span_begins_or_ends() -> None:
    term = MIXED[1][0]  # from position 2 on
    steerings = Steerings([tuple(replace(term, layer=layer) for layer in range(3))])
    assert steerings.at([1], 1) == {}
    begun = steerings.at([2], 1)
    assert steerings.at([3], 1) is begun
    assert begun[0] is begun[2]  # and layers that are edited alike share them
    steerings.replace(0, ())
    assert steerings.at([4], 1) == {}


def test_a_block_that_gives_more_than_its_residual_is_steered_all_the_same() -> None:
    hidden, extra = mx.array(HIDDEN[:1]), mx.ones(3)
    climb = Climb(1, [0], Steerings([MIXED[2]]).at([0], 7))
    changed, same = climb.at(0, lambda: (hidden, extra))
    assert same is extra
    assert np.array_equal(np.array(changed), np.array(climb.residuals[0]))
    expected = HIDDEN[0]
    for term in MIXED[2]:
        expected = edited(expected, term)
    np.testing.assert_allclose(np.array(changed[0]), expected, rtol=1e-5, atol=2e-6)
