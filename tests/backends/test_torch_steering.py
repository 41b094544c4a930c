"""Terms of a batch as tensors: whatever the spans, the sum at each position is what the terms say."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.engine import Steering, Term
from localprobe_torch.steering import Addition, next_change, plan_steering

WIDTH, LAYERS = 3, 2
CPU = [torch.device("cpu")] * LAYERS


def term(layer: int, start: int, length: int | None, value: int) -> Term:
    stop = None if length is None else start + length
    return Term(layer, np.full(WIDTH, value, np.float32), start, stop)


TERMS = st.builds(
    term, st.integers(0, 1), st.integers(0, 9), st.one_of(st.none(), st.integers(0, 6)), st.integers(-3, 3)
)
ROWS = st.lists(st.tuples(st.lists(TERMS, max_size=4), st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=4)


@settings(deadline=None)
@given(ROWS)
def test_every_position_gets_the_sum_of_the_terms_that_cover_it(rows: list[tuple[list[Term], int, int]]) -> None:
    steerings = [tuple(terms) for terms, _, _ in rows]
    starts, lengths = [start for _, start, _ in rows], [length for _, _, length in rows]
    plan = plan_steering(steerings, starts, lengths, CPU)
    for layer in range(LAYERS):
        hidden = torch.zeros(len(rows), max(lengths), WIDTH)
        steered = plan[layer](hidden) if layer in plan else hidden
        for row, (steering, start, length) in enumerate(zip(steerings, starts, lengths, strict=True)):
            for column in range(length):
                covering = [t.delta for t in steering if t.layer == layer and t.covers(start + column)]
                expected = np.sum(covering, axis=0) if covering else np.zeros(WIDTH)
                np.testing.assert_array_equal(steered[row, column].numpy(), expected)


def test_a_layer_without_terms_in_reach_is_not_touched() -> None:
    assert plan_steering([(term(1, 8, None, 1),)], [0], [8], CPU) == {}


def test_one_addition_serves_rows_that_are_steered_everywhere() -> None:
    rows: list[Steering] = [(term(0, 0, None, 1),), (), (term(0, 0, None, 2), term(0, 0, None, 3))]
    (addition,) = plan_steering(rows, [4, 2, 0], [1, 1, 1], CPU)[0].edits
    assert isinstance(addition, Addition) and addition.columns is None
    assert addition.deltas[:, 0, 0].tolist() == [1, 0, 5]


def test_half_precision_is_rounded_once() -> None:
    hidden = torch.full((1, 1, WIDTH), 256.0, dtype=torch.bfloat16)  # its neighbours are 2 apart
    rows = [(term(0, 0, None, 1), term(0, 0, 5, 1))]
    steered = plan_steering(rows, [0], [1], CPU)[0](hidden)
    assert steered.dtype == torch.bfloat16
    assert steered.tolist() == [[[258.0] * WIDTH]]


def test_the_next_change_is_the_nearest_edge_ahead() -> None:
    steering = (term(0, 3, 5, 1), term(1, 6, None, 1))
    assert [next_change(steering, position) for position in (0, 3, 6, 8)] == [3, 6, 8, float("inf")]
