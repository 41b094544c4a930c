"""Where a knob acts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from localprobe.engine import Span
from localprobe.errors import UsageError
from localprobe.steering.places import Positions
from localprobe.steering.positions import Place, spans, term, within, without


def of(text: str, place: Place) -> list[tuple[int, int | None]]:
    return spans(Positions.parse(text), place)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", [(0, None)]),
        ("prompt", [(0, 9)]),
        ("response", [(9, None)]),  # the prompt's last position predicts the first token of the answer
        ("first 3", [(0, 3)]),
        ("first 30", [(0, 10)]),
        ("last 4", [(6, 10)]),
        ("last 40", [(0, 10)]),
        ("positions 2:5", [(2, 5)]),
        ("positions -3:-1", [(7, 9)]),
        ("positions 4:", [(4, 10)]),
        ("positions 12:20", []),
    ],
)
def test_positions_are_spans_of_the_prompt_and_its_answer(text: str, expected: list[tuple[int, int | None]]) -> None:
    assert of(text, Place(10)) == expected


def test_a_later_turn_leaves_the_past_alone() -> None:
    turn = Place(30, start=20)
    assert of("all", turn) == [(20, None)]
    assert of("prompt", turn) == [(20, 29)]
    assert of("response", turn) == [(29, None)]
    assert of("first 3", turn) == [(20, 23)]
    assert of("last 40", turn) == [(20, 30)]


def test_the_text_of_a_prompt_is_found_where_it_is_known() -> None:
    class Known(Place):
        def find(self, text: str) -> Sequence[Span]:
            return [(2, 4), (6, 7)]

    assert of('on "a friend"', Known(10)) == [(2, 4), (6, 7)]
    with pytest.raises(UsageError, match="need the text of the prompt"):
        of('on "a friend"', Place(10))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'answer'.*all, prompt, response"):
        of("answer", Place(10))


def test_spans_are_cut_and_have_gaps() -> None:
    assert within([(0, None), (3, 5)], 4, 8) == [(4, 8), (4, 5)]
    assert within([(0, 3)], 4, 8) == []
    assert without([(0, None)], [(2, 4), (6, 7)]) == [(0, 2), (4, 6), (7, None)]
    assert without([(3, 5)], [(2, 6)]) == []


def test_alpha_is_multiplied_once_in_float32() -> None:
    v = np.array([0.1, 0.2], dtype=np.float32)
    assert term(3, v, 0.3).delta.tobytes() == (np.float32(0.3) * v).tobytes()
    assert term(3, v.astype(np.float64), 0.3).delta.dtype == np.float32
