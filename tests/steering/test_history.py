"""The steering of a row over its positions."""

from __future__ import annotations

import numpy as np

from localprobe.engine import Coordinates, Steering, Term
from localprobe.steering.history import begun, ended, same_until

V = np.ones(4, dtype=np.float32)


def test_ended_and_begun_split_a_steering_at_a_position() -> None:
    steering: Steering = (Term(0, V, 0, None), Term(1, V, 2, 5), Term(2, V, 7, 9))
    assert [(t.layer, t.start, t.stop) for t in ended(steering, 5)] == [(0, 0, 5), (1, 2, 5)]
    assert [(t.layer, t.start, t.stop) for t in begun(steering, 5)] == [(0, 5, None), (2, 7, 9)]


def test_same_until_finds_the_first_position_treated_otherwise() -> None:
    always = (Term(1, V),)
    assert same_until(always, (Term(1, V, 0, 6),), limit=10) == 6
    assert same_until(always, (Term(1, V, 0, 4), Term(1, V.copy(), 4, None)), limit=10) == 10
    assert same_until(always, (Term(1, 2 * V),), limit=10) == 0
    assert same_until((), (Term(1, V, 12, None),), limit=10) == 10


def test_a_term_of_zeros_changes_nothing() -> None:
    assert same_until((Term(1, 0 * V),), (), limit=10) == 10


def test_operators_compare_by_what_they_do_and_in_their_order() -> None:
    along = Coordinates(V[None] / 2, np.zeros(1, np.float32), share=1.0)
    ablate, add = Term.along(1, along), Term(1, V)
    assert same_until((ablate, add), (Term.along(1, along, 0, 7), add), limit=10) == 7
    assert same_until((ablate, add), (add, ablate), limit=10) == 0  # they do not commute
    assert same_until((add, Term(1, 2 * V)), (Term(1, 2 * V), add), limit=10) == 10
    assert same_until((add,), (Term(1, V, keep_norm=True),), limit=10) == 0
    assert same_until((Term.along(1, Coordinates(V[None] / 2, np.zeros(1, np.float32))),), (), limit=10) == 10
