"""Fitting a probe and measuring it, on the fake engine."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from localprobe.contrast.pairs import Pair, split
from localprobe.errors import DataError, UsageError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.fit import candidates, fit, fit_material
from localprobe.probing.measures import measure
from localprobe.probing.methods import fit as fit_directions
from localprobe.probing.validation import Material
from localprobe.store.identity import ModelIdentity
from localprobe.store.json_values import to_json
from localprobe.vectors.vector import Origin
from tests.probing.planted import planted

QUICK = ProbeConfig(resamples=100, permutations=10, random_directions=20)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


def test_a_probe_is_fitted_on_some_pairs_and_measured_on_the_others(model: Model, shouting: list[Pair]) -> None:
    report = fit(model, shouting, QUICK, concept="shouting")
    result = report.result
    assert report.vector.concept == result.concept == "shouting"
    assert result.train_pairs + result.test_pairs == len(shouting)
    train, _ = split(shouting, test_fraction=0.3, seed=0)
    assert set(report.vector.origin.trained_on) == {pair.hash for pair in train}
    assert result.scores is not None
    assert np.shape(result.scores.positive) == np.shape(result.scores.negative) == (6, result.test_pairs)
    assert report.vector.layer() == result.layer == report.layer
    assert report.vector.directions[result.layer].measures == result.chosen.measures
    assert report.verdict is not None
    assert result.measured_on == ModelIdentity.of(model.info)
    assert result.scale == pytest.approx(model.scale)
    json.dumps(to_json(result), allow_nan=False)


def test_without_validation_the_same_probe_is_measured_but_nothing_else_is_asked(
    model: Model, shouting: list[Pair]
) -> None:
    whole = fit(model, shouting, QUICK, concept="shouting")
    report = fit(model, shouting, QUICK, concept="shouting", validate=False)
    assert report.verdict is None
    assert report.result.validation is None
    assert report.layer == whole.layer
    assert [row.measures for row in report.layers] == [row.measures for row in whole.layers]
    assert all(row.random is None and row.agreement is None for row in report.layers)
    assert report.result.scores is not None
    assert report.result.scores.neutral == report.result.scores.ablated_auroc == ()
    for layer, direction in report.vector.directions.items():
        np.testing.assert_array_equal(direction.vector, whole.vector.directions[layer].vector)
        assert direction.measures == report.result.at(layer).measures


def test_a_test_fraction_of_0_fits_on_every_pair_and_measures_nothing(model: Model, shouting: list[Pair]) -> None:
    report = fit(model, shouting, replace(QUICK, test_fraction=0), concept="shouting", validate=False)
    assert report.layers == ()
    assert (report.result.train_pairs, report.result.test_pairs) == (len(shouting), 0)
    assert len(report.vector.origin.trained_on) == len(shouting)
    assert report.vector.directions[report.layer].measures == {}


def test_three_pairs_give_a_probe_although_one_test_pair_measures_nothing(model: Model, shouting: list[Pair]) -> None:
    report = fit(model, shouting[:3], QUICK, concept="shouting", validate=False)
    assert report.result.train_pairs == len(report.vector.origin.trained_on) == 2
    assert report.layers == ()


def test_a_fit_takes_pairs_of_which_only_some_name_their_scenario(model: Model, shouting: list[Pair]) -> None:
    pairs = [replace(shouting[0], scenario=""), *shouting[1:]]
    assert fit(model, pairs, QUICK, concept="shouting", validate=False).layers
    with pytest.raises(DataError, match="has no scenario, but others have"):
        fit(model, pairs, QUICK, concept="shouting")


def test_scores_in_the_result_are_those_that_its_figures_come_from(model: Model, shouting: list[Pair]) -> None:
    result = fit(model, shouting, QUICK, concept="shouting").result
    assert result.scores is not None
    for i, row in enumerate(result.layers):
        high, low = (np.array(poles[i]) for poles in (result.scores.positive, result.scores.negative))
        assert (high[:, None] > low).mean() == pytest.approx(row.auroc, abs=0.02)
        assert high.mean() - low.mean() == pytest.approx(row.separation, rel=1e-3)


def test_layers_of_the_fit_are_those_that_are_asked_for(model: Model, shouting: list[Pair]) -> None:
    report = fit(model, shouting, QUICK, concept="shouting", layers=[1, 5], validate=False)
    assert [row.layer for row in report.layers] == sorted(report.vector.directions) == [1, 5]
    assert report.result.scale == pytest.approx([model.scale[1], model.scale[5]])


def test_answers_are_read_within_a_chat(model: Model, shouting: list[Pair]) -> None:
    asked = [replace(pair, metadata={"prompt": "What do you do?"}) for pair in shouting]
    report = fit(model, asked, replace(QUICK, pooling="answer"), concept="shouting")
    assert report.vector.origin.pooling == "answer"
    assert report.result.chosen.auroc > 0.8


def test_steps_are_told_and_may_end_the_work(model: Model, shouting: list[Pair]) -> None:
    steps: list[str] = []
    amounts: list[int] = []
    fit(
        model,
        shouting,
        QUICK,
        concept="shouting",
        capturing=lambda amount: amounts.append(amount.texts),
        progress=steps.append,
    )
    assert steps[:2] == ["fitting", "measures"]
    assert steps[-1] == "scenarios and generators left out"
    assert amounts[-1] == 2 * len(shouting) + 40  # and the neutral texts

    def stop(step: str) -> None:
        raise KeyboardInterrupt(step)

    with pytest.raises(KeyboardInterrupt, match="fitting"):
        fit(model, shouting, QUICK, concept="shouting", progress=stop)


def test_the_same_seed_gives_the_same_probe_and_another_seed_another_split(model: Model, shouting: list[Pair]) -> None:
    first, again, other = (
        fit(model, shouting, replace(QUICK, seed=seed), concept="shouting", validate=False) for seed in (3, 3, 4)
    )
    assert first.result == again.result
    assert first.vector.origin.trained_on != other.vector.origin.trained_on


def test_a_misspelt_method_is_said_before_anything_is_captured(model: Model, shouting: list[Pair]) -> None:
    def captured(amount: object) -> None:
        raise AssertionError("a text was captured")

    with pytest.raises(UsageError, match="no method 'svm': there are mean-difference, logistic, pca, lda"):
        fit(model, shouting, replace(QUICK, method="svm"), concept="x", capturing=captured)


def test_held_out_pairs_are_measured_by_a_probe_that_has_not_seen_them() -> None:
    positive, negative, _ = planted([0.0, 3.0, 0.2], pairs=60, width=24)
    train, test = Examples(positive[:40], negative[:40]), Examples(positive[40:], negative[40:])
    report = fit_material(
        Material([0, 1, 2], train, test), concept="planted", origin=Origin("none"), config=QUICK, validate=False
    )
    probe = fit_directions(*train.poles)
    assert report.layer == 1
    for layer, row in enumerate(report.layers):
        high, low = (probe.scores(pole)[:, layer] for pole in test.poles)
        assert row.measures == asdict(measure(high, low, float(probe.thresholds[layer])))
    assert report.layers[1].auroc > 0.9
    assert report.layers[0].auroc < 0.75
    assert report.layers[1].separation == pytest.approx(3.0, abs=0.8)


def test_the_layer_is_chosen_among_the_middle_layers_where_every_layer_is_there() -> None:
    assert candidates(6, range(6)) == [1, 2, 3, 4]
    assert candidates(6, [0, 5]) == [0, 5]


def test_without_training_pairs_there_is_nothing_to_fit_on() -> None:
    with pytest.raises(DataError, match="there are no training pairs to fit on"):
        fit_material(Material([0], None, None), concept="x", origin=Origin("none"), config=QUICK)
