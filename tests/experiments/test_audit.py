"""The audit of a file whose figures can be worked out on paper."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.errors import DataError
from localprobe.experiments.audit import Audit, Audited, audit
from localprobe.experiments.findings import sentences
from localprobe.experiments.outcomes import Outcome, Sample, outcomes
from localprobe.store.json_values import from_json, to_json
from localprobe.text_metrics.word_lists import WORD_LISTS, read_word_lists
from tests.experiments.planted import outcomes_of, samples_of

FOOD = {-10.0: (0, 4), -5.0: (1, 4), 0.0: (1, 4), 5.0: (3, 4), 10.0: (1, 4)}
FULL = dict.fromkeys(FOOD, (4, 4))
LOOP = "I keep on and on along the road that leads there, and " + "so " * 20


def two_models() -> list[Outcome]:
    """`a` at layer 5: 8 cells, of which the paper counts 5, and strictly it is 2. `b`: 1 cell, a success by both."""
    samples = [
        *samples_of(FOOD, model="a", layer=5, scenario="Food"),
        *samples_of(FULL, model="a", layer=5, scenario="Listener"),
        *samples_of({0.0: (0, 1), 2.5: (1, 1)}, model="b", layer=1, scenario="Food"),
        Sample("b", 1, "Food", 2.5, ""),
        Sample("b", 1, "Food", 2.5, LOOP),
    ]
    return outcomes(samples, read_word_lists(WORD_LISTS.path("empathy")))


def test_the_figures_of_each_model_and_the_totals() -> None:
    audited = audit(two_models())
    a, b, totals = audited.models["a"], audited.models["b"], audited.totals

    def counts(part: Audited) -> tuple[float, ...]:
        success = part.success
        return success.cells, success.paper.count, success.strict.count, success.null_effects, success.unchanged

    assert [counts(part) for part in (a, b, totals)] == [(8, 5, 2, 3, 6), (1, 1, 1, 0, 0), (9, 6, 3, 3, 6)]
    assert [part.samples for part in (a, b, totals)] == [40, 4, 44]
    assert [condition.alpha for condition in a.conditions] == [-10, -5, 0, 5, 10]
    assert [condition.rate.share for condition in a.conditions] == [0.5, 0.625, 0.625, 0.875, 0.625]
    assert [condition.coherent.share for condition in a.conditions] == [1.0] * 5
    assert [condition.coherent.share for condition in b.conditions] == [1.0, 2 / 3]
    assert [condition.degenerate.share for condition in b.conditions] == [0.0, 2 / 3]
    assert [condition.fooled for condition in b.conditions] == [0, 1]
    assert (b.degenerate, b.fooled, b.success.broken) == (2, 1, 1)
    assert b.reasons["empty"] == 1
    assert b.truncated is None


def test_it_is_plain_json() -> None:
    audited = audit(two_models())
    values = to_json(audited)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert from_json(Audit, values) == audited
    assert values["models"]["a"]["success"]["paper"]["share"] == 0.625


def test_every_figure_lies_in_its_interval() -> None:
    def check(values: Any) -> int:
        if isinstance(values, list):
            return sum(map(check, values))
        if not isinstance(values, dict):
            return 0
        if "low" in values:
            assert values["low"] <= values.get("share", values.get("value")) <= values["high"]
            return 1
        return sum(map(check, values.values()))

    assert check(to_json(audit(two_models()))) > 50


def test_layers_scenarios_and_curves_are_parts() -> None:
    model = audit(two_models()).models["a"]
    assert {layer: part.success.paper.share for layer, part in model.layers.items()} == {5: 0.625}
    shares = {name: part.success.paper.share for name, part in model.scenarios.items()}
    assert shares == {"Food": 0.75, "Listener": 0.5}
    food, listener = model.curves
    assert (food.layer, food.scenario, food.baseline) == (5, "Food", 0.25)
    assert food.effects == {"-10": -0.25, "-5": 0.0, "5": 0.5, "10": 0.0}
    assert (food.success.cells, food.success.null_effects, food.samples) == (4, 1, 20)
    assert (listener.success.paper.share, listener.success.strict.share) == (0.5, 0.0)
    assert listener.success.null_effects == 2
    assert listener.response.usable == (-10, 10)


def test_a_part_has_the_baseline_that_it_borrows() -> None:
    seen = [
        *outcomes_of({0: (1, 2), 5: (2, 2)}, layer=1),
        *outcomes_of({5: (2, 2)}, layer=2),
    ]
    (model,) = audit(seen).models.values()
    assert model.samples == 6
    assert [part.samples for part in model.layers.values()] == [4, 4]
    assert list(model.scenarios) == ["s"]
    assert [(curve.layer, curve.samples, curve.borrowed) for curve in model.curves] == [(1, 4, ()), (2, 4, (1,))]
    assert "There are no unsteered answers at layer 2: the baseline is those of layer 1." in sentences(model)


def test_a_model_that_is_nowhere_steered_is_left_out() -> None:
    audited = audit([*two_models(), *outcomes_of({0: (1, 2)}, model="c")])
    assert list(audited.models) == ["a", "b"]
    assert audited.totals.samples == 44


def test_a_missing_baseline_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no baseline \(alpha 0\) for model 'm', layer 3, scenario 's': "):
        audit(outcomes_of({5: (1, 2)}))


def test_the_grid_of_the_paper() -> None:
    """Qwen's 72 cells, Dolphin's 54 and Phi-3's 120."""
    grids = {"Qwen": (3, [3, 5, 10, 20]), "Dolphin": (3, [3, 5, 10]), "Phi-3": (4, [1, 3, 5, 10, 20])}
    seen = [
        each
        for model, (count, up) in grids.items()
        for layer in range(count)
        for scenario in ("Food Delivery", "The Listener", "The Protector")
        for each in outcomes_of(
            dict.fromkeys((0, *up, *(-alpha for alpha in up)), (3, 5)), model=model, layer=layer, scenario=scenario
        )
    ]
    audited = audit(seen)
    cells = {name: model.success.cells for name, model in audited.models.items()}
    assert cells == {"Qwen": 72, "Dolphin": 54, "Phi-3": 120}
    # nothing changes anywhere, and still the paper's rule gives a half
    totals = audited.totals.success
    assert (totals.paper.share, totals.strict.share, totals.null_effects) == (0.5, 0, 123)


@settings(max_examples=20, deadline=None)
@given(st.randoms())
def test_the_order_of_lines_does_not_matter(random: Any) -> None:
    seen = two_models()
    shuffled = seen.copy()
    random.shuffle(shuffled)
    assert audit(seen) == audit(shuffled)


def test_lines_said_twice_change_no_rate() -> None:
    once, twice = (audit(seen).models["a"] for seen in (two_models(), two_models() * 2))
    assert once.success == twice.success
    for one, other in zip(once.conditions, twice.conditions, strict=True):
        assert (one.rate.share, one.coherent.share) == (other.rate.share, other.coherent.share)
    assert once.response.slope.value == twice.response.slope.value
    assert twice.samples == 2 * once.samples


def test_the_sentences_set_the_papers_figure_against_the_strict_one() -> None:
    found = sentences(audit(two_models()).models["a"])
    assert found[0].startswith("The paper's rule counts 62% (")
    assert "of 8 cells a success; strictly, with an effect that has the sign of the strength, it is 25% (" in found[0]
    assert found[1].startswith("3 of the paper's 5 successes are null effects: a negative strength that changed")
    assert found[2] == (
        "Listener (layer 5): every unsteered answer has the language already, so the paper's rule gives 50%, the share "
        "of negative alphas, whatever the model does."
    )
    assert "None of 40 answers is degenerate." in found
    assert "Most answers stay coherent and free of degeneration from alpha -10 to 10." in found


def test_the_sentences_name_what_the_papers_rule_calls_coherent() -> None:
    found = sentences(audit(two_models()).models["b"])
    assert (
        "1 of the 1 strict successes is at strengths where half of the answers or more are incoherent or degenerate."
        in found
    )
    assert any(
        each.startswith("2 of 4 answers are degenerate; the paper's rule calls 1 of them coherent.") for each in found
    )
    assert "Food (layer 1): no unsteered answer has the language, so no negative alpha can lower it." in found
    assert "No strength occurs with both signs, so raising and lowering cannot be compared." in found


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (
            outcomes_of({0: (0, 2), 5: (0, 2)}),
            "No answer at all has more of the positive words than of the negative: are these the right word lists?",
        ),
        (outcomes_of({0: (2, 2), 5: (0, 2)}), "1 of 1 curves goes the wrong way."),
        (
            outcomes_of({0: (0, 2), 5: (1, 2)}, coherent=False),
            "Half of the unsteered answers or more are incoherent or degenerate, so no strength is usable.",
        ),
        (
            outcomes_of({-5: (0, 40), 0: (0, 40), 5: (40, 40)}),
            "Raising the rate works better than lowering: +1.00 by positive alphas, +0.00 by negative ones.",
        ),
        (
            [*outcomes_of({5: (1, 2)}), *outcomes_of({0: (0, 2)}, layer=None)],
            "There are no unsteered answers at layer 3: the baseline is those that name no layer.",
        ),
    ],
)
def test_what_else_is_said(seen: list[Outcome], sentence: str) -> None:
    (model,) = audit(seen).models.values()
    assert sentence in sentences(model)


def test_verdicts_inside_words_are_counted() -> None:
    samples = [Sample("m", 1, "s", alpha, "I was scared and I ran.") for alpha in (0, 5)]
    (model,) = audit(outcomes(samples, read_word_lists(WORD_LISTS.path("empathy")))).models.values()
    assert model.inside_words == 2
    assert any(
        each.startswith("2 of 2 answers would be judged differently if the lists' words") for each in sentences(model)
    )
