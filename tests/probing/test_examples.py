"""Pairs with their residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.contrast.pairs import Pair
from localprobe.errors import DataError
from localprobe.probing.examples import Examples
from tests.probing.planted import meant_examples, planted

POLES = planted([1.0], pairs=2)[:2]


def pair(scenario: str = "", **metadata: str) -> Pair:
    return Pair("a", "b", scenario, metadata=metadata)


def test_pairs_of_a_file_bring_their_scenario_and_generator() -> None:
    found = Examples.of([pair("maze", generator="x"), pair("duel", generator="y")], *POLES)
    assert found.scenarios == ("maze", "duel")
    assert found.generators == ("x", "y")
    assert found.positive_texts == ("a", "a")
    assert Examples.of([pair(), pair()], *POLES).scenarios == ()


def test_names_that_only_some_pairs_have_are_refused() -> None:
    with pytest.raises(DataError, match="pair 2 has no scenario, but others have"):
        Examples.of([pair("maze"), pair()], *POLES)
    with pytest.raises(DataError, match="pair 1 has no generator"):
        Examples.of([pair("maze"), pair("maze", generator="x")], *POLES)


def test_rows_keep_everything_together() -> None:
    examples = meant_examples(10, [1.0])
    some = examples.rows(np.array([7, 2]))
    assert some.positive_texts == (examples.positive_texts[7], examples.positive_texts[2])
    assert some.scenarios == (examples.scenarios[7], examples.scenarios[2])
    np.testing.assert_array_equal(some.negative, examples.negative[[7, 2]])
    mask = np.arange(10) < 6
    both = examples.rows(mask).joined(examples.rows(~mask))
    assert both.negative_texts == examples.negative_texts
    np.testing.assert_array_equal(both.positive, examples.positive)


def test_residuals_and_texts_of_different_pairs_are_refused() -> None:
    examples = meant_examples(10, [1.0])
    with pytest.raises(DataError, match=r"residuals of 10 pairs, but texts or names of \[9, 10\]"):
        replace(examples, negative_texts=examples.negative_texts[1:]).checked()
