"""Probes on residuals that another tool captured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.contrast.pairs import Pair
from localprobe.errors import DataError, UsageError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.arrays import validate_arrays
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from tests.probing.planted import planted

QUICK = ProbeConfig(resamples=100, permutations=10, random_directions=20)
POSITIVE, NEGATIVE, DIRECTIONS = planted([0.3, 3.0], pairs=60)


def test_a_planted_direction_is_found_and_measured_on_pairs_held_out() -> None:
    config = replace(QUICK, permutations=30)
    report = validate_arrays(POSITIVE, NEGATIVE, layers=[10, 20], config=config, concept="planted", model="theirs")
    assert (report.layer, report.result.train_pairs, report.result.test_pairs) == (20, 42, 18)
    assert float(report.vector.directions[20].vector @ DIRECTIONS[1]) > 0.9
    assert report.result.at(20).auroc > 0.9
    assert report.result.name == "planted on theirs"
    assert report.verdict is not None
    assert "It was not compared with words: no texts were given." in report.verdict.headline


def test_the_same_residuals_give_what_a_fit_on_the_texts_gives(shouting: list[Pair]) -> None:
    model = Model(FakeEngine())
    own = fit(model, shouting, QUICK, concept="shouting", layers=[1, 3])
    texts = [pair.positive for pair in shouting] + [pair.negative for pair in shouting]
    residuals = model.pooled(texts, [1, 3], pooling=QUICK.pooling)
    half = len(shouting)
    report = validate_arrays(
        residuals[:half],
        residuals[half:],
        layers=[1, 3],
        config=QUICK,
        concept="shouting",
        texts=([pair.positive for pair in shouting], [pair.negative for pair in shouting]),
        scenarios=[pair.scenario for pair in shouting],
    )
    assert report.layer == own.layer
    assert [row.measures for row in report.layers] == [row.measures for row in own.layers]
    assert report.result.validation is not None and own.result.validation is not None
    assert report.result.validation.baselines == own.result.validation.baselines
    assert report.result.validation.leave_one_out == own.result.validation.leave_one_out


def test_one_layer_may_come_without_an_axis_of_layers() -> None:
    report = validate_arrays(POSITIVE[:, 1], NEGATIVE[:, 1], config=QUICK, neutral=NEGATIVE[:5, 1])
    assert [row.layer for row in report.layers] == [0]
    assert report.result.validation is not None
    assert report.result.validation.neutral is not None
    assert report.result.validation.neutral.texts == 5


def test_a_test_fraction_of_0_fits_on_every_pair() -> None:
    report = validate_arrays(POSITIVE, NEGATIVE, config=replace(QUICK, test_fraction=0))
    assert (report.layers, report.result.train_pairs, report.verdict) == ((), 60, None)


def test_three_pairs_give_a_probe_and_no_validation() -> None:
    report = validate_arrays(POSITIVE[:3], NEGATIVE[:3], config=QUICK, validate=False)
    assert (report.layers, report.result.train_pairs) == ((), 2)
    with pytest.raises(DataError, match=r"too few pairs: 3, of which `test_fraction` 0\.3 holds 1 out"):
        validate_arrays(POSITIVE[:3], NEGATIVE[:3], config=QUICK)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"positive": POSITIVE[0, 0]}, DataError, r"`positive` has shape \(16,\)"),
        ({"negative": NEGATIVE[:50]}, DataError, "60 positive and 50 negative texts"),
        ({"negative": NEGATIVE[..., :8]}, DataError, r"the poles have \(layers, width\)"),
        ({"positive": np.where(POSITIVE > 3, np.nan, POSITIVE)}, DataError, "has residuals that are NaN"),
        ({"layers": [1]}, UsageError, "`layers` names 1 layers, and the residuals hold 2"),
        ({"layers": [1, 1]}, UsageError, "`layers`"),
        ({"texts": (["a"] * 60, ["b"] * 59)}, DataError, r"texts or names of \[59, 60\]"),
        ({"texts": (["a"] * 60, [])}, DataError, r"texts or names of \[0, 60\]"),
        ({"scenarios": ["a"] * 59}, DataError, r"texts or names of \[59, 60\]"),
        ({"neutral": NEGATIVE[:, :1]}, DataError, "neutral residuals have shape"),
        ({"config": replace(QUICK, method="svm")}, UsageError, "no method 'svm'"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        validate_arrays(**{"positive": POSITIVE, "negative": NEGATIVE, "config": QUICK} | changes)
    assert "\n" not in str(caught.value)
