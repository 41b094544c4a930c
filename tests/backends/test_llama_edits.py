"""Edits in place do what the reference in `localprobe.edits` does, and the same bits to a row in any company."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.edits import edited
from localprobe.engine import Coordinates, FloatArray, Term

pytest.importorskip("llama_cpp")

from localprobe_llama.edits import Edit, apply, picked
from localprobe_llama.steering import plan, steps

WIDTH, ROWS = 67, 12
RANDOM = np.random.default_rng(0)
BASIS = np.ascontiguousarray(np.linalg.qr(RANDOM.normal(size=(WIDTH, 3)))[0].T, dtype=np.float32)
HIDDEN = (4 * RANDOM.normal(size=(ROWS, WIDTH))).astype(np.float32)
DELTA = RANDOM.normal(size=WIDTH).astype(np.float32)


def along(count: int = 1, target: float = 0.0, **how: float) -> Term:
    return Term.along(0, Coordinates(BASIS[:count], np.full(count, target, np.float32), **how))


TERMS = {
    "add": Term(0, DELTA),
    "keep the norm": Term(0, DELTA, keep_norm=True),
    "ablate": along(share=1.0),
    "ablate half": along(share=0.5),
    "ablate to a mean": along(share=1.0, target=2.5),
    "ablate a subspace": along(3, share=1.0),
    "cap": along(low=-0.5, high=1.0),
    "cap a subspace": along(3, low=-0.5, high=1.0),
    "cap below": along(high=0.0),
    "set": along(low=2.0, high=2.0),
    "ablate half, then cap": along(share=0.5, target=1.0, low=0.0, high=1.5),
}


def made(edits: list[Edit], hidden: FloatArray = HIDDEN) -> FloatArray:
    copy = hidden.copy()
    apply(edits, copy, 0)
    return copy


def planned(*terms: Term) -> list[Edit]:
    edits: dict[int, list[Edit]] = {}
    plan(edits, terms, 0, ROWS, 0)
    return edits.get(0, [])


def spanned(name: str, start: int, stop: int | None) -> Term:
    term = TERMS[name]
    return Term(0, term.delta, start, stop, term.keep_norm, term.coordinates)


@pytest.mark.parametrize("name", TERMS)
def test_an_edit_does_what_the_reference_says(name: str) -> None:
    np.testing.assert_allclose(made(planned(TERMS[name])), edited(HIDDEN, TERMS[name]), rtol=1e-5, atol=1e-5)
    assert not np.allclose(made(planned(TERMS[name])), HIDDEN, atol=1e-2)


@pytest.mark.parametrize("name", TERMS)
def test_terms_act_in_order_at_the_positions_that_they_cover(name: str) -> None:
    terms = [Term(0, DELTA, 2, 9), spanned(name, 4, None), Term(0, 2 * DELTA), spanned("cap", 0, 6)]
    for order in (terms, terms[::-1]):
        expected = HIDDEN.copy()
        for term in order:
            where = slice(term.start, term.stop)
            expected[where] = edited(expected[where], term)
        np.testing.assert_allclose(made(planned(*order)), expected, rtol=1e-5, atol=1e-5)


def test_additions_that_follow_each_other_are_summed_before_they_are_added() -> None:
    others = [Term(0, (value * DELTA).astype(np.float32)) for value in (1e-3, 0.7, 3.1)]
    together = np.add.reduce([term.delta for term in others], dtype=np.float32)
    np.testing.assert_array_equal(made(planned(*others)), HIDDEN + together)
    assert len(planned(*others, TERMS["ablate"], others[0])) == 3


@pytest.mark.parametrize("name", TERMS)
def test_a_row_is_edited_bit_for_bit_alike_alone_and_in_a_batch(name: str) -> None:
    """Together by one call, in parts, and as the only row."""
    whole = made(planned(TERMS[name]))
    alone = np.concatenate([made(planned(TERMS[name]), hidden) for hidden in np.split(HIDDEN, ROWS)])
    np.testing.assert_array_equal(whole, alone)
    edits, left = steps([((TERMS[name],), 5)] * ROWS)
    assert len(edits[0]) == 1 and left > 1000
    np.testing.assert_array_equal(made(list(edits[0])), whole)


def of_rows() -> list[tuple[Term, ...]]:
    """Rows with terms of their own: runs that can be joined, runs that cannot, rows without an edit."""
    strengths = [along(share=share) for share in (0.2, 0.4, 0.6)]
    bounds = [along(low=-limit, high=limit) for limit in (0.1, 1.0)]
    sums = [Term(0, (factor * DELTA).astype(np.float32)) for factor in (1, 2)]
    mixed = [(sums[0], TERMS["ablate"], TERMS["keep the norm"]), (sums[1], TERMS["ablate"]), (TERMS["ablate"],)]
    return [*[(term,) for term in strengths + bounds], (), *[(term,) for term in sums], *mixed, (TERMS["cap"],)]


def test_rows_of_a_step_that_are_edited_together_keep_their_own_strengths() -> None:
    rows = of_rows()
    assert len(rows) == ROWS
    edits, _ = steps([(terms, 0) for terms in rows])
    result = made(list(edits[0]))
    for number, terms in enumerate(rows):
        np.testing.assert_array_equal(result[number : number + 1], made(planned(*terms), HIDDEN[number : number + 1]))
    assert len(edits[0]) < sum(map(len, rows))


def test_rows_that_come_in_parts_or_of_which_some_are_left_out_are_edited_alike() -> None:
    edits, _ = steps([(terms, 0) for terms in of_rows()])
    whole = made(list(edits[0]))
    parts = HIDDEN.copy()
    for first, last in ((0, 2), (2, 7), (7, 8), (8, ROWS)):
        apply(edits[0], parts[first:last], first)
    np.testing.assert_array_equal(parts, whole)
    kept = np.arange(ROWS) % 3 != 1
    np.testing.assert_array_equal(made(picked(edits[0], kept), HIDDEN[kept]), whole[kept])


def test_a_plan_of_steps_holds_until_a_span_begins_or_ends() -> None:
    early, late = spanned("ablate", 3, 8), spanned("cap", 6, None)
    counts, lefts = [], []
    for position in range(2, 9):
        edits, left = steps([((early, late), position), ((), 0)])
        counts.append(len(edits.get(0, [])))
        lefts.append(min(left, 99))
    assert counts == [0, 1, 1, 1, 2, 2, 1]
    assert lefts == [1, 3, 2, 1, 2, 1, 99]


@pytest.mark.parametrize("name", ["ablate", "ablate half", "cap", "keep the norm"])
def test_a_residual_of_zeros_stays_finite(name: str) -> None:
    nothing = np.zeros_like(HIDDEN)
    np.testing.assert_allclose(made(planned(TERMS[name]), nothing), edited(nothing, TERMS[name]), atol=1e-6)
