"""Where a steering applies."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import Steering, Term
from localprobe.errors import UsageError
from localprobe.steering.positions import begun, ended, same_until, span, term

V = np.ones(4, dtype=np.float32)


@pytest.mark.parametrize(("name", "expected"), [("all", (0, None)), ("prompt", (0, 9)), ("response", (9, None))])
def test_the_prompts_last_position_belongs_to_the_response(name: str, expected: tuple[int, int | None]) -> None:
    assert span(name, prompt=10) == expected


def test_a_later_turn_leaves_the_past_alone() -> None:
    assert span("all", prompt=30, start=20) == (20, None)
    assert span("prompt", prompt=30, start=20) == (20, 29)
    assert span("response", prompt=30, start=20) == (29, None)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'answer': choose one of all, prompt, response"):
        span("answer", 10)


def test_alpha_is_multiplied_once_in_float32() -> None:
    v = np.array([0.1, 0.2], dtype=np.float32)
    assert term(3, v, 0.3).delta.tobytes() == (np.float32(0.3) * v).tobytes()
    assert term(3, v.astype(np.float64), 0.3).delta.dtype == np.float32


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
