"""Leaving out whole scenarios or generators, and agreement between pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.errors import DataError
from localprobe.probing.agreement import agreement
from localprobe.probing.leave_out import leave_out
from localprobe.probing.methods import METHODS, fit
from localprobe.probing.neutral import neutral
from localprobe.stats.auroc import auroc
from tests.probing.planted import meant_examples, planted


@pytest.mark.parametrize("method", METHODS)
def test_a_concept_carries_over_to_scenarios_left_out(method: str) -> None:
    examples = meant_examples(60, [0.0, 4.0])
    found = leave_out(examples, examples.scenarios, [3, 7], by="scenario", method=method)
    assert [group.name for group in found.groups] == [f"scenario {i}" for i in range(4)]
    assert all(group.layer == 7 and group.pairs == 15 for group in found.groups)
    assert found.pooled.auroc > 0.95
    assert found.pooled_aurocs[1] > 0.95
    assert abs(found.pooled_aurocs[0] - 0.5) < 0.2


def test_a_scenario_where_the_concept_points_the_other_way_is_found_out() -> None:
    examples = meant_examples(60, [4.0])
    odd = np.array(examples.scenarios) == "scenario 2"
    positive = examples.positive.copy()
    positive[odd] = examples.negative[odd] - fit(*examples.poles).directions
    found = leave_out(replace(examples, positive=positive), examples.scenarios, [0], by="scenario")
    areas = {group.name: group.at_layer.auroc for group in found.groups}
    assert areas.pop("scenario 2") < 0.5
    assert min(areas.values()) > 0.9


def test_a_group_has_no_part_in_the_fit_that_scores_it() -> None:
    examples = meant_examples(20, [1.0], scenarios=2)
    out = np.array(examples.scenarios) == "scenario 1"
    probe = fit(examples.positive[~out], examples.negative[~out])
    expected = auroc(*(probe.scores(pole[out])[:, 0] for pole in examples.poles))
    found = leave_out(examples, examples.scenarios, [0], by="scenario")
    assert found.groups[1].at_layer.auroc == pytest.approx(expected)


def test_a_scenario_of_one_pair_has_a_figure_and_no_interval() -> None:
    examples = meant_examples(12, [4.0])
    found = leave_out(examples, [*["many"] * 6, *["more"] * 5, "one"], [0], by="scenario")
    many, _, one = found.groups
    assert one.pairs == 1 and one.at_layer.auroc in (0.0, 0.5, 1.0)
    assert one.at_layer.interval is None
    assert many.at_layer.interval is not None and found.pooled.interval is not None


def test_names_that_leave_nothing_to_do_are_refused() -> None:
    examples = meant_examples(6, [1.0])
    with pytest.raises(DataError, match="all pairs have the generator 'x'"):
        leave_out(examples, ["x"] * 6, [0], by="generator")
    with pytest.raises(DataError, match="needs the scenario of every pair: some have none"):
        leave_out(examples, ["x"] * 5 + [""], [0], by="scenario")
    with pytest.raises(DataError, match="without the scenario 'x' there is 1 pair left"):
        leave_out(examples, ["x"] * 5 + ["y"], [0], by="scenario")


def test_pairs_that_agree_and_pairs_that_do_not() -> None:
    strong, none = agreement(*planted([20.0, 0.0], pairs=40)[:2])
    assert strong.pairs > 0.8
    assert strong.halves is not None
    assert strong.halves > 0.98
    assert abs(none.pairs) < 0.05
    assert none.halves is not None
    assert abs(none.halves) < 0.4


def test_agreement_of_two_pairs_by_hand() -> None:
    positive = np.array([[[1.0, 0.0]], [[1.0, 1.0]]], np.float32)
    found = agreement(positive, np.zeros_like(positive))[0]
    assert found.pairs == pytest.approx(0.5**0.5)
    assert found.halves is None


def test_neutral_texts_are_placed_between_the_poles() -> None:
    positive, negative, directions = planted([6.0], pairs=100)
    probe = fit(positive, negative)
    noise = np.random.default_rng(9).standard_normal((50, 1, 16)).astype(np.float32)
    half = neutral(probe, noise + 3 * directions, 0, 12)
    assert half.layer == 12
    assert half.texts == 50
    assert half.position == pytest.approx(0.5, abs=0.1)
    assert half.between > 0.9
    assert half.low < half.position < half.high
    outside = neutral(probe, noise + 9 * directions, 0, 12)
    assert outside.position == pytest.approx(1.5, abs=0.1)
    assert outside.above_threshold == 1.0
    assert outside.between < 0.1


def test_the_zero_of_the_scores_says_why_all_are_negative() -> None:
    """The paper's case: both poles project to negative scores."""
    positive, negative, directions = planted([6.0], pairs=100)
    positive, negative = positive - 20 * directions, negative - 20 * directions
    probe = fit(positive, negative)
    assert probe.scores(positive).max() < 0
    assert neutral(probe, negative, 0, 0).zero == pytest.approx(20 / 6, abs=0.3)
