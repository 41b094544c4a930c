"""Terms of a batch as tensors: whatever the spans, each position is edited as the terms say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.engine import Coordinates, Steering, Term
from localprobe_torch.steering import Addition, LayerSteering, RowSteering, next_change, plan_steering, plan_step
from tests.operator_hooks import by_hand, directions

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


RANDOM = np.random.default_rng(0)
HIDDEN = RANDOM.normal(size=(6, 7, 16)).astype(np.float32)
D = directions(16, 4, 0)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_of_a_batch_get_their_own_edits_rounded_once(dtype: torch.dtype) -> None:
    hidden = torch.from_numpy(HIDDEN).to(dtype)
    steered = plan_steering(MIXED, [0] * 6, [7] * 6, CPU)[0](hidden)
    assert steered.dtype == dtype
    for row, steering in enumerate(MIXED):
        expected = hidden[row].clone().float()
        for term in steering:
            expected[term.start : term.stop] = by_hand(expected[term.start : term.stop], term)
        torch.testing.assert_close(steered[row].float(), expected, rtol=torch.finfo(dtype).eps, atol=2e-6)
        touched = [any(term.covers(position) for term in steering) for position in range(7)]
        assert torch.equal(steered[row][~torch.tensor(touched)], hidden[row][~torch.tensor(touched)])
    assert torch.equal(steered[5], hidden[5])


def test_a_lower_precision_of_matrix_products_is_not_felt() -> None:
    def steered() -> torch.Tensor:
        return plan_steering(MIXED, [0] * 6, [7] * 6, CPU)[0](torch.from_numpy(HIDDEN))

    before = steered()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(steered(), before)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_layers_that_are_edited_alike_share_tensors_on_each_device() -> None:
    devices = [torch.device(name) for name in ("cpu", "cpu", "meta")]
    term = MIXED[1][0]
    planned = plan_steering([tuple(replace(term, layer=layer) for layer in range(3))], [0], [7], devices)
    assert planned[0] is planned[1]
    assert (
        planned[2](torch.empty(1, 7, 16, device="meta")).device.type == "meta"
    )  # which no tensor of the CPU mixes with


@settings(deadline=None)
@given(ROWS)
def test_rows_planned_one_by_one_are_edited_as_together(rows: list[tuple[list[Term], int, int]]) -> None:
    steerings = [tuple(terms) for terms, _, _ in rows]
    own, starts = [RowSteering(terms) for terms in steerings], [start for _, start, _ in rows]
    ones, stale = [1] * len(rows), 0.0
    planned: dict[int, LayerSteering] = {}
    for _ in range(8):
        if stale <= 0:
            planned, stale = plan_step(own, starts, CPU)
        expected = plan_steering(steerings, starts, ones, CPU)
        assert planned.keys() == expected.keys()
        for layer, steering in planned.items():
            hidden = torch.ones(len(rows), 1, WIDTH)
            assert torch.equal(steering(hidden), expected[layer](hidden))
        starts, stale = [start + 1 for start in starts], stale - 1


def test_rows_that_do_not_only_add_are_planned_together() -> None:
    hidden, starts = torch.from_numpy(HIDDEN[:, :1]), [3] * 6
    planned, steps = plan_step([RowSteering(steering) for steering in MIXED], starts, CPU)
    assert torch.equal(planned[0](hidden), plan_steering(MIXED, starts, [1] * 6, CPU)[0](hidden))
    assert steps == 1


def test_the_next_change_is_the_nearest_edge_ahead() -> None:
    steering = (term(0, 3, 5, 1), term(1, 6, None, 1))
    assert [next_change(steering, position) for position in (0, 3, 6, 8)] == [3, 6, 8, float("inf")]
