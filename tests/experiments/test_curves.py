"""Rates, baselines and effects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localprobe.errors import DataError
from localprobe.experiments.curves import Condition, curves
from localprobe.experiments.outcomes import Outcome
from localprobe.experiments.success import success
from localprobe.stats.rates import rate
from tests.experiments.planted import outcomes_of

Rates = dict[float, tuple[int, int]]


def test_an_effect_is_a_change_from_the_rate_at_0() -> None:
    (curve,) = curves(outcomes_of({-10: (0, 4), 0: (1, 4), 10: (3, 4)}))
    assert (curve.model, curve.layer, curve.scenario, curve.borrowed) == ("m", 3, "s", ())
    assert curve.baseline.rate.share == 0.25
    assert [(cell.alpha, cell.effect) for cell in curve.cells] == [(-10, -0.25), (10, 0.5)]
    assert [each.alpha for each in curve.conditions] == [-10, 0, 10]


@pytest.mark.parametrize(
    ("alpha", "expressing", "paper", "strict", "null"),
    [
        (5, 4, True, True, False),
        (5, 2, False, False, False),  # nothing changed
        (5, 0, False, False, False),
        (-5, 0, True, True, False),
        (-5, 2, True, False, True),  # nothing changed, and the paper's rule counts it
        (-5, 4, False, False, False),
    ],
)
def test_success_by_both_rules(alpha: float, expressing: int, paper: bool, strict: bool, null: bool) -> None:
    ((cell,),) = (curve.cells for curve in curves(outcomes_of({0: (2, 4), alpha: (expressing, 4)})))
    assert (cell.success, cell.strict, cell.null) == (paper, strict, null)


def test_equal_rates_of_unequal_numbers_of_samples_are_no_effect() -> None:
    ((cell,),) = (curve.cells for curve in curves(outcomes_of({0: (3, 10), -5: (9, 30)})))
    assert cell.effect == 0
    assert cell.null


def test_each_model_layer_and_scenario_is_a_curve_of_its_own() -> None:
    seen = [
        *outcomes_of({0: (0, 2), 5: (2, 2)}, model="b", layer=1),
        *outcomes_of({0: (0, 2), 5: (2, 2)}, model="a", layer=2, scenario="y"),
        *outcomes_of({0: (2, 2), 5: (1, 2)}, model="a", layer=2, scenario="x"),
        *outcomes_of({0: (1, 2), 5: (1, 2)}, model="a", layer=10, scenario="x"),
    ]
    found = [(curve.model, curve.layer, curve.scenario, curve.cells[0].effect) for curve in curves(seen)]
    assert found == [("a", 2, "x", -0.5), ("a", 2, "y", 1), ("a", 10, "x", 0), ("b", 1, "s", 1)]


def test_a_layers_own_baseline_goes_before_those_of_others() -> None:
    seen = [
        *outcomes_of({0: (0, 2), 5: (2, 2)}, layer=1),
        *outcomes_of({0: (2, 2), 5: (2, 2)}, layer=2),
        *outcomes_of({5: (2, 2)}, layer=3),
    ]
    first, second, third = curves(seen)
    assert [curve.baseline.rate.share for curve in (first, second, third)] == [0, 1, 0.5]
    assert [curve.borrowed for curve in (first, second, third)] == [(), (), (1, 2)]


def test_a_baseline_without_a_layer_serves_all_layers() -> None:
    seen = [
        *outcomes_of({0: (1, 2)}, layer=None),
        *outcomes_of({5: (2, 2)}, layer=1),
        *outcomes_of({5: (0, 2)}, layer=2),
    ]
    assert [(curve.baseline.rate.share, curve.borrowed) for curve in curves(seen)] == [(0.5, (None,)), (0.5, (None,))]


def test_no_baseline_is_borrowed_from_another_scenario_or_model() -> None:
    seen = [
        *outcomes_of({0: (1, 2), 5: (1, 2)}, scenario="x"),
        *outcomes_of({5: (1, 2)}, scenario="y", layer=7),
        *outcomes_of({5: (1, 2)}, scenario="x", model="n"),
    ]
    with pytest.raises(DataError) as caught:
        curves(seen)
    assert str(caught.value).startswith(
        "no baseline (alpha 0) for model 'm', layer 7, scenario 'y', nor for 1 more: an effect is a change from"
    )


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ([], "no sample has an alpha other than 0"),
        (outcomes_of({0: (1, 2)}), "no sample has an alpha other than 0"),
        (outcomes_of({0: (1, 2), 5: (1, 2)}, layer=None), "a sample of m on s at alpha 5 has no layer"),
    ],
)
def test_outcomes_that_make_no_curve(seen: list[Outcome], message: str) -> None:
    with pytest.raises(DataError, match=message):
        curves(seen)


def test_a_condition_counts() -> None:
    seen = [
        Outcome("m", 1, "s", 5, expresses=True, coherent=True),
        Outcome("m", 1, "s", 5, expresses=True, coherent=True, reasons=("one word over and over",)),
        Outcome("m", 1, "s", 5, expresses=False, coherent=False, reasons=("empty",)),
        Outcome("m", 1, "s", 5, expresses=False, coherent=False),
    ]
    found = Condition.of(seen, alpha=5)
    assert found == Condition(5, samples=4, rate=rate(2, 4), coherent=rate(2, 4), degenerate=rate(2, 4), fooled=1)
    assert (found.usable, found.broken) == (1, True)
    assert Condition.of(seen[:1], alpha=5).broken is False


rates = st.dictionaries(
    st.sampled_from([-20.0, -5.0, -3.0, 3.0, 5.0, 20.0]),
    st.integers(0, 4).map(lambda k: (k, 4)),
    min_size=1,
)


@given(rates, st.integers(0, 4), st.randoms())
def test_the_order_of_samples_does_not_matter(cells: Rates, baseline: int, random: object) -> None:
    seen = outcomes_of({0: (baseline, 4), **cells})
    shuffled = seen.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert curves(shuffled) == curves(seen)


@given(rates, st.integers(0, 4))
def test_samples_said_twice_change_no_rate(cells: Rates, baseline: int) -> None:
    seen = outcomes_of({0: (baseline, 4), **cells})
    once, twice = success(curves(seen)), success(curves(seen * 2))
    assert once == twice


@given(rates)
def test_a_baseline_of_1_gives_the_paper_s_rule_the_share_of_negative_alphas(cells: Rates) -> None:
    found = success(curves(outcomes_of({0: (4, 4), **cells})))
    assert found.paper.share == sum(alpha < 0 for alpha in cells) / len(cells)


@given(rates, st.integers(0, 4))
def test_strict_success_and_null_effects_make_up_the_papers(cells: Rates, baseline: int) -> None:
    found = success(curves(outcomes_of({0: (baseline, 4), **cells})))
    assert found.paper.count == found.strict.count + found.null_effects
