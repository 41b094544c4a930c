"""A probe's result as a value: its JSON, its name, and what is read off it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from localprobe.probing.report import ProbeReport
from localprobe.probing.result import LayerResult, ProbeResult
from localprobe.store.json_values import from_json, to_json


@pytest.mark.parametrize("name", ["validated", "unvalidated", "of_arrays"])
def test_a_result_reads_back_from_its_json(name: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(name).result
    stored = json.dumps(to_json(result), allow_nan=False)
    assert from_json(ProbeResult, json.loads(stored)) == result


def test_of_arrays_everything_is_asked_that_needs_no_text(of_arrays: ProbeReport) -> None:
    validation = of_arrays.result.validation
    assert validation is not None
    assert validation.permutation.p == pytest.approx(1 / 11)
    assert validation.baselines is validation.lexical is validation.neutral is None
    assert validation.leave_one_out == {}
    assert of_arrays.layers[1].random is not None
    assert of_arrays.result.name == "planted"


def row(layer: int, auroc: float, accuracy: float, separation: float, std: float = 1.0) -> LayerResult:
    both = (0.0, 1.0)
    return LayerResult(layer, auroc, both, accuracy, both, separation, both, std, both, std, both)


def test_the_best_layer_on_the_test_pairs_breaks_ties_by_accuracy_then_by_separation(
    of_arrays: ProbeReport,
) -> None:
    def best(*rows: LayerResult) -> int:
        return replace(of_arrays.result, layers=rows).best.layer

    assert best(row(1, 0.8, 0.9, 5), row(2, 0.9, 0.7, 1)) == 2
    assert best(row(1, 1, 0.8, 5), row(2, 1, 0.9, 1)) == 2
    assert best(row(1, 1, 1, 5, std=4), row(2, 1, 1, 4, std=1)) == 2


def test_a_layer_is_found_by_its_number(of_arrays: ProbeReport) -> None:
    result = of_arrays.result
    assert [result.index(layer) for layer in (4, 9)] == [0, 1]
    assert result.at(9) is result.layers[1]
    assert result.chosen is result.at(result.layer)
    assert np.isclose(result.chosen.measures["auroc"], result.chosen.auroc)
