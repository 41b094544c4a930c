"""The reference of the operators, and the arrangement of a batch of rows into edits of a pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.edits import Edits, edited, moves, plan
from localprobe.engine import Coordinates, FloatArray, Steering, Term

WIDTH = 6
E = np.eye(WIDTH, dtype=np.float32)
H = np.array([[1, 2, 3, 4, 5, 6], [-1, 0, 1, 0, -2, 2]], dtype=np.float32)


def along(
    *basis: FloatArray, share: float = 0.0, target: float = 0.0, low: float = -np.inf, high: float = np.inf
) -> Term:
    wanted = Coordinates(np.stack(basis), np.full(len(basis), target, np.float32), share, low, high)
    return Term.along(0, wanted)


def test_ablation_takes_the_coordinate_away_and_leaves_the_others() -> None:
    np.testing.assert_array_equal(edited(H, along(E[1], share=1)), H * np.array([1, 0, 1, 1, 1, 1]))


def test_a_share_of_one_half_halves_the_distance_to_the_mean() -> None:
    np.testing.assert_array_equal(edited(H, along(E[1], share=0.5, target=4))[:, 1], [3, 2])


def test_a_subspace_is_ablated_by_one_term() -> None:
    np.testing.assert_array_equal(edited(H, along(E[0], E[5], share=1)), H * np.array([0, 1, 1, 1, 1, 0]))


def test_a_cap_holds_the_coordinate_within_its_bounds() -> None:
    np.testing.assert_array_equal(edited(H, along(E[4], low=-1, high=3))[:, 4], [3, -1])
    np.testing.assert_array_equal(edited(H, along(E[4], low=2.5, high=2.5))[:, 4], [2.5, 2.5])


def test_keeping_the_norm_turns_the_residual() -> None:
    turned = edited(H, Term(0, 3 * E[0], keep_norm=True))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(H, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(
        turned[0], np.linalg.norm(H[0]) / np.linalg.norm(H[0] + 3 * E[0]) * (H[0] + 3 * E[0]), rtol=1e-6
    )


def test_a_sum_of_length_zero_stays_zero() -> None:
    assert not edited(H[:1], Term(0, -H[0], keep_norm=True)).any()


@pytest.mark.parametrize(
    "term",
    [along(E[1], target=9), along(E[1], low=-100, high=100), Term(0, 0 * E[0], keep_norm=True), Term(0, 0 * E[0])],
)
def test_what_moves_nothing_is_bitwise_the_residual(term: Term) -> None:
    np.testing.assert_array_equal(edited(H, term), H)


def test_additions_to_the_same_columns_are_summed_but_not_across_another_operator() -> None:
    steering = (Term(0, E[0]), Term(0, E[1]), along(E[0], share=1), Term(0, E[2]))
    found = moves(steering, 0, 0, 4)
    assert [term.operator for _, term in found] == ["add", "ablate", "add"]
    np.testing.assert_array_equal(found[0][1].delta, E[0] + E[1])


def test_idle_terms_and_those_of_other_layers_or_positions_are_left_out() -> None:
    steering = (Term(0, 0 * E[0]), along(E[0]), Term(1, E[0]), Term(0, E[0], 0, 3), Term(0, E[0], 9))
    assert moves(steering, 0, 3, 4) == []
    assert [columns for columns, _ in moves(steering, 0, 2, 9)] == [(0, 1), (7, 9)]


def test_a_planned_batch_gives_each_row_what_its_own_terms_do() -> None:
    rows: list[Steering] = [
        (),
        (Term(0, E[0], 1), along(E[0], E[1], share=1)),
        (along(E[3], low=-1, high=1), Term(0, 2 * E[3], 0, 2), Term(0, E[5], keep_norm=True)),
        (along(E[2], share=0.25, target=2), along(E[2], share=1)),
    ]
    starts, lengths = [0, 5, 1, 2], [4, 3, 4, 1]
    hidden = np.random.default_rng(0).normal(size=(4, 4, WIDTH)).astype(np.float32)
    (edits,) = plan(rows, starts, lengths).values()
    changed = hidden
    for each in edits:
        changed = apply(each, changed)
    for row, (steering, start, length) in enumerate(zip(rows, starts, lengths, strict=True)):
        expected = hidden[row, :length].copy()
        for (first, stop), term in moves(steering, 0, start, length):
            expected[first:stop] = edited(expected[first:stop], term)
        np.testing.assert_allclose(changed[row, :length], expected, rtol=1e-5, atol=1e-6)


def test_rows_that_ablate_one_direction_share_its_basis() -> None:
    term = along(E[1], share=1)
    (edits,) = plan([(term,), (), (term,)], [0] * 3, [2] * 3)[0]
    assert edits.basis is not None and edits.basis.shape == (1, 1, WIDTH)
    assert edits.share is not None and edits.share.ravel().tolist() == [1, 0, 1]
    assert edits.low is None and edits.columns is None


def test_layers_that_do_the_same_share_their_edits() -> None:
    term = along(E[1], share=1)
    rows = [tuple(replace(term, layer=layer) for layer in range(3)), (Term(2, E[0]),)]
    planned = plan(rows, [0, 0], [2, 1])
    assert planned[0] is planned[1]
    assert [edits.kind for edits in planned[2]] == ["coordinates", "add"]


def test_sums_that_are_made_anew_are_not_taken_for_each_other() -> None:
    steering = tuple(Term(layer, (layer + 1) * E[i]) for layer in range(8) for i in (0, 1))
    for layer, (edits,) in plan([steering], [0], [1]).items():
        assert edits.deltas is not None
        np.testing.assert_array_equal(edits.deltas[0, 0], (layer + 1) * (E[0] + E[1]))


def test_an_addition_of_nothing_does_not_change_the_order_of_sums() -> None:
    steering = (Term(0, 0 * E[0], 0, 2), Term(0, E[1]), Term(0, E[2], 0, 2))
    assert [columns for columns, _ in moves(steering, 0, 0, 4)] == [(0, 2), (0, 4)]
    assert moves((Term(0, E[0]), Term(0, -E[0])), 0, 0, 4) == []


def apply(edits: Edits, hidden: FloatArray) -> FloatArray:
    """An engine's part, in numpy."""
    if edits.kind == "coordinates":
        assert edits.basis is not None and edits.target is not None and edits.share is not None
        p = hidden @ edits.basis.swapaxes(1, 2)
        moved = p + edits.share * (edits.target - p)
        if edits.low is not None and edits.high is not None:
            moved = np.clip(moved, edits.low, edits.high)
        changed = hidden + (moved - p) @ edits.basis
    else:
        assert edits.deltas is not None
        changed = hidden + edits.deltas
        if edits.kind == "keep-norm":
            changed = (
                changed
                * np.linalg.norm(hidden, axis=-1, keepdims=True)
                / np.linalg.norm(changed, axis=-1, keepdims=True)
            )
    return np.asarray(changed if edits.columns is None else np.where(edits.columns, changed, hidden), dtype=np.float32)
