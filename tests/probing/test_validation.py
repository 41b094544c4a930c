"""A whole validation, from pairs to the JSON that others read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.errors import DataError, UsageError
from localprobe.probing.choice import choose_layer
from localprobe.probing.examples import Examples
from localprobe.probing.lexical import Ablated
from localprobe.probing.measures import measure
from localprobe.probing.methods import METHODS, fit
from localprobe.probing.probe import Probe
from localprobe.probing.validation import Effort, Validation, validate
from tests.probing.planted import meant_examples

QUICK = Effort(resamples=200, permutations=99, directions=100)
LAYERS = [0, 4, 8]
STRENGTHS = [0.3, 4.0, 2.0]


def halves(pairs: int = 60, strengths: list[float] = STRENGTHS, **options: int) -> tuple[Examples, Examples]:
    examples = meant_examples(pairs, strengths, **options)
    test = np.arange(pairs) % 10 >= 7
    return examples.rows(~test), examples.rows(test)


TRAIN, TEST = halves()


@pytest.fixture(scope="module")
def found() -> Validation:
    return validate(TRAIN, TEST, layers=LAYERS, effort=QUICK)


def test_the_table_is_that_of_a_probe_fitted_on_the_training_pairs(found: Validation) -> None:
    probe = fit(*TRAIN.poles)
    assert [each.layer for each in found.layers] == LAYERS
    for b, each in enumerate(found.layers):
        high, low = (probe.scores(pole)[:, b] for pole in TEST.poles)
        assert each.measures == measure(high, low, float(probe.thresholds[b]))
        assert each.intervals.auroc[0] <= each.measures.auroc <= each.intervals.auroc[1]


def test_both_choices_of_a_layer_are_given(found: Validation) -> None:
    assert found.nested.layer == LAYERS[choose_layer(*TRAIN.poles)] == 4
    assert found.best.measures.auroc == max(each.measures.auroc for each in found.layers)


def test_a_planted_concept_stands_every_test(found: Validation) -> None:
    assert found.permutation.p == pytest.approx(0.01)
    assert found.permutation.statistic == pytest.approx(found.nested.measures.auroc)
    assert found.baselines.bag_of_words.lead is not None
    assert found.baselines.bag_of_words.lead[0] > 0
    assert found.leave_one_out["scenario"].pooled.auroc > 0.95
    assert "generator" not in found.leave_one_out
    assert found.nested.random.percentile > 90
    assert (found.train_pairs, found.test_pairs) == (42, 18)


@pytest.mark.parametrize("method", METHODS)
def test_json_has_the_agreed_names_and_plain_finite_numbers(method: str) -> None:
    ablated = Ablated(TEST.positive, TEST.negative, (3,) * len(TEST), 41)
    generators = ("a", "b") * 21, ("b", "a") * 9
    train, test = (replace(each, generators=names) for each, names in zip((TRAIN, TEST), generators, strict=True))
    whole = validate(
        train,
        test,
        layers=LAYERS,
        method=method,
        ablated=ablated,
        neutral_residuals=TEST.negative,
        effort=replace(QUICK, permutations=20),
    ).as_json()
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    for row in whole["layers"]:
        for name in ("auroc", "accuracy", "separation", "std_positive", "std_negative"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
        assert set(row["random"]) >= {"mean", "std", "z", "percentile", "percentile_95", "aurocs"}
        assert set(row["agreement"]) == {"pairs", "halves"}
    assert set(whole["nested"]) >= {"layer", "auroc", "interval"}
    assert set(whole["permutation"]) >= {"p", "n"}
    assert set(whole["leave_one_out"]) == {"scenario", "generator"}
    assert whole["lexical"]["drop"] == 0
    assert 0 <= whole["neutral"]["between"] <= 1
    assert set(whole["verdict"]) == {"headline", "shows", "does_not_show"}
    assert set(whole) == {
        *("method", "train_pairs", "test_pairs", "layers", "best", "nested", "permutation", "baselines"),
        *("leave_one_out", "lexical", "neutral", "agreement", "verdict"),
    }


def test_the_same_seed_gives_the_same_validation(found: Validation) -> None:
    assert validate(TRAIN, TEST, layers=LAYERS, effort=QUICK) == found
    assert validate(TRAIN, TEST, layers=LAYERS, effort=QUICK, seed=1) != found


def test_a_probe_from_elsewhere_is_measured_without_its_training_pairs() -> None:
    probe = fit(*TRAIN.poles)
    found = validate(None, TEST, layers=LAYERS, probe=probe, layer=8, effort=QUICK)
    assert found.train_pairs == 0
    assert found.nested.layer == 8
    assert found.nested.measures == validate(TRAIN, TEST, layers=LAYERS, effort=QUICK).layers[2].measures
    assert found.permutation.p == pytest.approx(0.01)
    json.dumps(found.as_json(), allow_nan=False)


def test_the_layer_is_chosen_among_the_candidates_wherever_one_is_chosen() -> None:
    found = validate(TRAIN, TEST, layers=LAYERS, candidates=[0, 8], effort=QUICK)
    assert found.nested.layer == 8
    assert found.best.layer == 4
    assert found.permutation.statistic == found.nested.measures.auroc
    assert {group.layer for group in found.leave_one_out["scenario"].groups} == {8}


def test_steps_are_told_as_they_begin() -> None:
    steps: list[str] = []
    validate(TRAIN, TEST, layers=LAYERS, effort=QUICK, progress=steps.append)
    assert steps[0] == "measures"
    assert "permutation test" in steps


def broken(examples: Examples, **changes: Any) -> Examples:
    return replace(examples, **changes)


def nan(residuals: np.ndarray) -> np.ndarray:
    changed = residuals.copy()
    changed[4, 1, 3] = np.inf
    return changed


@pytest.mark.parametrize(
    ("train", "test", "more", "message"),
    [
        (TRAIN, TEST.rows(np.arange(1)), {}, "1 pair: it takes at least 2"),
        (TRAIN.rows(np.arange(1)), TEST, {}, "1 pair: it takes at least 2"),
        (TRAIN, broken(TEST, negative=TEST.negative[:0]), {}, "the negative pole has no texts"),
        (
            TRAIN,
            broken(TEST, positive=nan(TEST.positive)),
            {},
            "the positive text of pair 5 has residuals that are NaN",
        ),
        (TRAIN, broken(TEST, scenarios=("a", "", *TEST.scenarios[2:])), {}, "pair 2 has no scenario, but others have"),
        (TRAIN, halves(width=16)[1], {}, r"\(3, 24\) and the residuals of the test texts have \(3, 16\)"),
        (TRAIN, TEST, {"layers": [0, 4]}, "for 2 layers: they are of different models or layers"),
        (TRAIN, TEST, {"neutral_residuals": nan(TEST.negative)}, "neutral text 5 has residuals that are NaN"),
        (TRAIN, TEST, {"neutral_residuals": TEST.negative[..., :3]}, "neutral residuals have shape"),
        (
            TRAIN,
            TEST,
            {"ablated": Ablated(TEST.positive[:3], TEST.negative[:3], (1,) * 3, 1)},
            "the ablated texts have residuals",
        ),
    ],
)
def test_bad_input_is_one_clear_line(train: Examples, test: Examples, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        validate(train, test, **{"layers": LAYERS, "effort": QUICK} | more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "svm"}, "no method 'svm'"),
        ({"layer": 5}, "layer 5 was not captured: there are layers 0, 4, 8"),
        ({"candidates": [0, 7]}, "layer 7 was not captured"),
        ({"train": None}, "nothing to validate"),
        ({"train": None, "probe": fit(*TRAIN.poles)}, "no layer can be chosen"),
    ],
)
def test_what_does_not_exist_is_a_usage_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate(**{"train": TRAIN, "test": TEST, "layers": LAYERS, "effort": QUICK} | options)


def test_a_given_probe_is_not_fitted_again() -> None:
    probe = fit(*TRAIN.poles)
    other = Probe(probe.directions, probe.norms, probe.thresholds + 100)
    assert validate(TRAIN, TEST, layers=LAYERS, probe=other, effort=QUICK).nested.measures.accuracy == 0.5
