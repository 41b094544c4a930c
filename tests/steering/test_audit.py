"""The audit of a file whose figures can be worked out on paper."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.errors import DataError
from localprobe.steering.audit import audit, layers, part, scenarios
from localprobe.steering.findings import sentences
from localprobe.steering.outcomes import Outcome, Sample, outcomes
from localprobe.steering.word_lists import shipped_word_lists
from tests.steering.planted import outcomes_of, samples_of

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
    return outcomes(samples, shipped_word_lists("empathy"))


def test_the_figures_of_each_model_and_the_totals() -> None:
    found = audit(two_models()).as_json()
    a, b, totals = found["models"]["a"], found["models"]["b"], found["totals"]
    names = ("cells", "paper_success", "strict_success", "null_effects", "unchanged", "samples")
    assert [a[name] for name in names] == [8, 0.625, 0.25, 3, 6, 40]
    assert [b[name] for name in names] == [1, 1.0, 1.0, 0, 0, 4]
    assert [totals[name] for name in names] == [9, 6 / 9, 3 / 9, 3, 6, 44]
    assert a["model"] == "a"
    assert a["coherence_by_alpha"] == {"-10": 1.0, "-5": 1.0, "0": 1.0, "5": 1.0, "10": 1.0}
    assert a["rate_by_alpha"] == {"-10": 0.5, "-5": 0.625, "0": 0.625, "5": 0.875, "10": 0.625}
    assert b["coherence_by_alpha"] == {"0": 1.0, "2.5": 2 / 3}
    assert b["degeneration_by_alpha"] == {"0": 0.0, "2.5": 2 / 3}
    assert (b["degenerate"], b["degenerate_yet_coherent"], b["broken_successes"]) == (2, 1, 1)
    assert b["by_alpha"]["2.5"]["degenerate_yet_coherent"] == 1
    assert b["reasons"]["empty"] == 1
    assert b["truncated"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_every_share_has_an_interval_that_holds_it() -> None:
    def check(found: dict[str, Any]) -> int:
        count = 0
        for name, value in found.items():
            if isinstance(value, dict):
                count += check(value)
            elif f"{name}_interval" in found and value is not None:
                low, high = found[f"{name}_interval"]
                assert low <= value <= high, name
                count += 1
        return count

    assert check(audit(two_models()).as_json()) > 50


def test_layers_scenarios_and_curves_are_parts() -> None:
    model = audit(two_models()).as_json()["models"]["a"]
    assert list(model["layers"]) == ["5"]
    assert model["layers"]["5"]["paper_success"] == 0.625
    assert {name: each["paper_success"] for name, each in model["scenarios"].items()} == {"Food": 0.75, "Listener": 0.5}
    food, listener = model["curves"]
    assert (food["layer"], food["scenario"], food["baseline"]) == (5, "Food", 0.25)
    assert food["effects"] == {"-10": -0.25, "-5": 0.0, "5": 0.5, "10": 0.0}
    assert (food["cells"], food["null_effects"], food["samples"]) == (4, 1, 20)
    assert (listener["paper_success"], listener["strict_success"], listener["null_effects"]) == (0.5, 0.0, 2)
    assert listener["usable_range"] == [-10, 10]


def test_a_part_has_the_baseline_that_it_borrows() -> None:
    seen = [
        *outcomes_of({0: (1, 2), 5: (2, 2)}, layer=1),
        *outcomes_of({5: (2, 2)}, layer=2),
    ]
    (group,) = audit(seen).models.values()
    assert len(group.outcomes) == 6
    assert [len(each.outcomes) for each in layers(group).values()] == [4, 4]
    assert len(part(group, layer=2, scenario="s").outcomes) == 4
    assert list(scenarios(group)) == ["s"]
    (curve,) = part(group, layer=2).curves
    assert curve.borrowed == (1,)
    assert "There are no unsteered answers at layer 2: the baseline is those of layer 1." in sentences(group)


def test_a_model_that_is_nowhere_steered_is_left_out() -> None:
    found = audit([*two_models(), *outcomes_of({0: (1, 2)}, model="c")])
    assert list(found.models) == ["a", "b"]
    assert len(found.totals.outcomes) == 44


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
    found = audit(seen).as_json()
    assert {name: each["cells"] for name, each in found["models"].items()} == {"Qwen": 72, "Dolphin": 54, "Phi-3": 120}
    # nothing changes anywhere, and still the paper's rule gives a half
    assert (found["totals"]["paper_success"], found["totals"]["strict_success"]) == (0.5, 0)
    assert found["totals"]["null_effects"] == 123


@settings(max_examples=5, deadline=None)
@given(st.randoms())
def test_the_order_of_lines_does_not_matter(random: Any) -> None:
    seen = two_models()
    shuffled = seen.copy()
    random.shuffle(shuffled)
    assert json.dumps(audit(seen).as_json()) == json.dumps(audit(shuffled).as_json())


def test_lines_said_twice_change_no_rate() -> None:
    once, twice = (audit(seen).as_json()["models"]["a"] for seen in (two_models(), two_models() * 2))
    for name in ("paper_success", "strict_success", "null_effects", "rate_by_alpha", "coherence_by_alpha", "slope"):
        assert once[name] == twice[name]
    assert twice["samples"] == 2 * once["samples"]


def test_the_sentences_set_the_papers_figure_against_the_strict_one() -> None:
    found = sentences(audit(two_models()).models["a"])
    assert found[0].startswith("The paper's rule counts 62.5% [")
    assert found[0].endswith("] of 8 cells a success.")
    assert found[1].startswith("Strictly, with an effect that has the sign of alpha, it is 25.0% [")
    assert found[2].startswith("3 of the paper's 5 successes are null effects: a negative alpha that changed nothing")
    assert found[3] == (
        "Listener (layer 5): every unsteered answer has the language already, so the paper's rule gives 50%, the share "
        "of negative alphas, whatever the model does."
    )
    assert "None of 40 answers is degenerate." in found
    assert "Most answers stay coherent and free of degeneration from alpha -10 to 10." in found


def test_the_sentences_name_what_the_papers_rule_calls_coherent() -> None:
    found = sentences(audit(two_models()).models["b"])
    assert (
        "1 of 1 strict successes is at strengths where half of the answers or more are incoherent or degenerate."
        in found
    )
    assert any(
        each.startswith("2 of 4 answers are degenerate; the paper's rule calls 1 of them coherent.") for each in found
    )
    assert "Food (layer 1): no unsteered answer has the language, so no negative alpha can lower it." in found
    assert "No strength is there both ways, so the two cannot be set against each other." in found


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
    (group,) = audit(seen).models.values()
    assert sentence in sentences(group)


def test_verdicts_inside_words_are_counted() -> None:
    samples = [Sample("m", 1, "s", alpha, "I was scared and I ran.") for alpha in (0, 5)]
    (group,) = audit(outcomes(samples, shipped_word_lists("empathy"))).models.values()
    assert group.inside_words == 2
    assert any(
        each.startswith("2 of 2 answers would be judged otherwise if the lists' words") for each in sentences(group)
    )
