"""A whole validation, from residuals to the values that others read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from localprobe.engine import FloatArray
from localprobe.errors import DataError, UsageError
from localprobe.probing.choice import choose_layer
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.fit import fit_material
from localprobe.probing.lexical import Ablated
from localprobe.probing.measures import measure
from localprobe.probing.methods import METHODS, fit
from localprobe.probing.probe import Probe
from localprobe.probing.result import ProbeResult, Validation
from localprobe.probing.validation import Material, examine
from localprobe.store.json_values import to_json
from localprobe.vectors.vector import Origin
from tests.probing.planted import meant_examples

QUICK = ProbeConfig(resamples=200, permutations=99, random_directions=100)
LAYERS = [0, 4, 8]
STRENGTHS = [0.3, 4.0, 2.0]


def halves(pairs: int = 60, strengths: list[float] = STRENGTHS, **options: int) -> tuple[Examples, Examples]:
    examples = meant_examples(pairs, strengths, **options)
    test = np.arange(pairs) % 10 >= 7
    return examples.rows(~test), examples.rows(test)


TRAIN, TEST = halves()


def fitted(
    train: Examples = TRAIN,
    test: Examples = TEST,
    *,
    layers: Sequence[int] = LAYERS,
    config: ProbeConfig = QUICK,
    candidates: Sequence[int] | None = None,
    ablated: Ablated | None = None,
    neutral: FloatArray | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> ProbeResult:
    """What a probe fitted on `train` shows on `test`."""
    material = Material(layers, train, test, ablated, neutral)
    return fit_material(
        material, concept="x", origin=Origin("none"), config=config, candidates=candidates, progress=progress
    ).result


def given(probe: Probe, train: Examples | None = TRAIN, *, layer: int | None = 4, **options: Any) -> ProbeResult:
    """What a probe that exists already shows on the test pairs."""
    material = Material(LAYERS, train, TEST)
    return examine(probe, material, concept="x", origin=Origin("none"), config=QUICK, layer=layer, **options)


@pytest.fixture(scope="module")
def result() -> ProbeResult:
    return fitted()


@pytest.fixture(scope="module")
def validation(result: ProbeResult) -> Validation:
    assert result.validation is not None
    return result.validation


def test_the_table_is_that_of_a_probe_fitted_on_the_training_pairs(result: ProbeResult) -> None:
    probe = fit(*TRAIN.poles)
    assert [row.layer for row in result.layers] == LAYERS
    for b, row in enumerate(result.layers):
        high, low = (probe.scores(pole)[:, b] for pole in TEST.poles)
        assert row.measures == asdict(measure(high, low, float(probe.thresholds[b])))
        assert row.auroc_interval[0] <= row.auroc <= row.auroc_interval[1]


def test_both_choices_of_a_layer_are_given(result: ProbeResult) -> None:
    assert result.layer == result.chosen.layer == LAYERS[choose_layer(*TRAIN.poles)] == 4
    assert result.best.auroc == max(row.auroc for row in result.layers)


def test_a_planted_concept_stands_every_test(result: ProbeResult, validation: Validation) -> None:
    assert validation.permutation.p == pytest.approx(0.01)
    assert validation.permutation.statistic == pytest.approx(result.chosen.auroc)
    assert validation.baselines is not None
    assert validation.baselines.bag_of_words.lead is not None
    assert validation.baselines.bag_of_words.lead[0] > 0
    assert validation.leave_one_out["scenario"].pooled.auroc > 0.95
    assert "generator" not in validation.leave_one_out
    assert result.chosen.random is not None
    assert result.chosen.random.percentile > 90
    assert (result.train_pairs, result.test_pairs) == (42, 18)


@pytest.mark.parametrize("method", METHODS)
def test_json_has_the_agreed_names_and_plain_finite_numbers(method: str) -> None:
    ablated = Ablated(TEST.positive, TEST.negative, (3,) * len(TEST), 41)
    generators = ("a", "b") * 21, ("b", "a") * 9
    train, test = (replace(part, generators=names) for part, names in zip((TRAIN, TEST), generators, strict=True))
    config = replace(QUICK, method=method, permutations=20)
    whole = to_json(fitted(train, test, config=config, ablated=ablated, neutral=TEST.negative))
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert whole["config"] == asdict(config)
    for row in whole["layers"]:
        for name in ("auroc", "accuracy", "separation", "std_positive", "std_negative"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
        assert set(row["random"]) >= {"mean", "std", "z", "percentile", "percentile_95", "aurocs"}
        assert set(row["agreement"]) == {"pairs", "halves"}
    assert whole["layer"] in LAYERS
    assert set(whole["scores"]) >= {"positive", "negative", "neutral", "ablated_auroc", "threshold"}
    validation = whole["validation"]
    assert set(validation["permutation"]) >= {"p", "n"}
    assert set(validation["leave_one_out"]) == {"scenario", "generator"}
    assert validation["lexical"]["drop"] == 0
    assert 0 <= validation["neutral"]["between"] <= 1
    assert set(validation["verdict"]) == {"headline", "shows", "does_not_show"}
    assert set(validation) == {"permutation", "baselines", "leave_one_out", "lexical", "neutral", "verdict"}
    assert set(whole) == {
        *("concept", "config", "origin", "train_pairs", "test_pairs", "layer", "layers", "scale", "scores"),
        *("validation", "measured_on", "pairs"),
    }


def test_the_same_seed_gives_the_same_validation(result: ProbeResult) -> None:
    assert fitted() == result
    assert fitted(config=replace(QUICK, seed=1)).validation != result.validation


def test_a_probe_from_elsewhere_is_measured_without_its_training_pairs(result: ProbeResult) -> None:
    alone = given(fit(*TRAIN.poles), None, layer=8)
    assert alone.train_pairs == 0
    assert alone.chosen.layer == 8
    assert alone.chosen.measures == result.layers[2].measures
    assert alone.validation is not None
    assert alone.validation.permutation.p == pytest.approx(0.01)
    json.dumps(to_json(alone), allow_nan=False)


def test_the_layer_is_chosen_among_the_candidates_wherever_one_is_chosen() -> None:
    result = fitted(candidates=[0, 8])
    assert result.chosen.layer == 8
    assert result.best.layer == 4
    assert result.validation is not None
    assert result.validation.permutation.statistic == result.chosen.auroc
    assert {group.layer for group in result.validation.leave_one_out["scenario"].groups} == {8}


def test_steps_are_told_as_they_begin() -> None:
    steps: list[str] = []
    fitted(progress=steps.append)
    assert steps[:2] == ["fitting", "measures"]
    assert "permutation test" in steps


def nan(residuals: np.ndarray) -> np.ndarray:
    changed = residuals.copy()
    changed[4, 1, 3] = np.inf
    return changed


@pytest.mark.parametrize(
    ("train", "test", "more", "message"),
    [
        (TRAIN, TEST.rows(np.arange(1)), {}, "1 pair: it takes at least 2"),
        (TRAIN.rows(np.arange(1)), TEST, {}, "1 pair: it takes at least 2"),
        (TRAIN, replace(TEST, negative=TEST.negative[:0]), {}, "the negative pole has no texts"),
        (
            TRAIN,
            replace(TEST, positive=nan(TEST.positive)),
            {},
            "the positive text of pair 5 has residuals that are NaN",
        ),
        (TRAIN, replace(TEST, scenarios=("a", "", *TEST.scenarios[2:])), {}, "pair 2 has no scenario, but others have"),
        (TRAIN, halves(width=16)[1], {}, r"\(3, 24\) and the residuals of the test texts have \(3, 16\)"),
        (TRAIN, TEST, {"layers": [0, 4]}, "for 2 layers: they come from different models or layers"),
        (TRAIN, TEST, {"layers": [0, 4, 8, 12]}, "for 4 layers: they come from different models or layers"),
        (TRAIN, TEST, {"neutral": nan(TEST.negative)}, "neutral text 5 has residuals that are NaN"),
        (TRAIN, TEST, {"neutral": TEST.negative[..., :3]}, "neutral residuals have shape"),
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
        fitted(train, test, **more)
    assert "\n" not in str(caught.value)


def test_a_method_or_candidate_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no method 'svm'"):
        fitted(config=replace(QUICK, method="svm"))
    with pytest.raises(UsageError, match="layer 7 was not captured: there are layers 0, 4, 8"):
        fitted(candidates=[0, 7])


def test_a_layer_that_was_not_captured_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="layer 5 was not captured: there are layers 0, 4, 8"):
        given(fit(*TRAIN.poles), layer=5)


def test_without_training_pairs_the_layer_must_be_given() -> None:
    with pytest.raises(UsageError, match="no layer can be chosen: give the `layer`"):
        given(fit(*TRAIN.poles), None, layer=None)


def test_a_given_probe_is_not_fitted_again() -> None:
    probe = fit(*TRAIN.poles)
    other = Probe(probe.directions, probe.norms, probe.thresholds + 100)
    assert given(other).chosen.accuracy == 0.5


def test_without_test_pairs_nothing_is_measured() -> None:
    probe = fit(*TRAIN.poles)
    result = examine(
        probe, Material(LAYERS, TRAIN, None), concept="x", origin=Origin("none"), config=QUICK, layer=4, validate=False
    )
    assert (result.layers, result.scores, result.validation) == ((), None, None)
    assert (result.train_pairs, result.test_pairs) == (42, 0)
