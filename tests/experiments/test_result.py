"""From cells to one result: what the report, `--json` and the app read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from localprobe.experiments.cells import CellAnswer, CellMeasures
from localprobe.experiments.grid import Cell
from localprobe.experiments.result import CellCounts, SweepResult
from localprobe.experiments.summary import result_of
from localprobe.stats.estimates import Mean
from localprobe.store.json_values import from_json, to_json

WARM = "I stop and listen, because I understand how he must feel, and I want to help him with all of my care today."
COLD = "I proceed to the objective, because the task is to win, and an efficient strategy will achieve the goal today."
LOOP = "so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so"

About = dict[str, Any]


def answer(
    arm: str, dose: float, sample: int, text: str, pole: str = "", layer: int | None = 3, nll: float = 1.0
) -> CellAnswer:
    plain = arm in ("baseline", "system")
    cell = Cell(
        f"{arm}{pole}{dose}{sample}{layer}",
        "",
        "fake",
        "fake",
        "",
        arm,
        "hello",
        True,
        pole,  # type: ignore[arg-type]
        "" if plain else "kindness",
        None if plain else layer,
        dose,
        10 * dose,
        sample,
    )
    measures = CellMeasures(nll, {"kindness:3": dose, "kindness:5": 2 * dose}, abs(dose))
    return CellAnswer(cell, text, "length", np.arange(4, dtype=np.int32), {"kindness:3": 20 * dose}, measures)


@pytest.fixture
def about() -> About:
    return {
        "experiment": {
            "name": "small",
            "concept": "empathy",
            "positions": "all",
            "samples": 2,
            "tokens": 8,
            "seed": 0,
            "arms": ["vector", "random", "system", "both"],
            "strengths": {"unit": "dose", "values": [-0.6, -0.3, 0.0, 0.3]},
            "sampler": {"temperature": 0.7},
            "models": [{"name": "other", "engine": "torch"}, {"name": "fake", "engine": None}],
            "prompts": [{"id": "hello", "title": "Hello", "text": "Hello", "pressure": True}],
            "words": {"positive": ["help", "listen", "care", "feel"], "negative": ["task", "goal", "win", "proceed"]},
        },
        "models": [
            {
                **dict.fromkeys(("weights", "dtype", "quantisation", "device", "version", "label"), ""),
                "model": "fake",
                "engine": "fake",
                "choice": "fake",
                "unit": "dose",
                "expected": 20,
                "rate": 100.0,
                "vectors": [
                    {
                        "name": "kindness",
                        "identity": "0" * 8,
                        "concept": "kindness",
                        "best": 3,
                        "origin": {"model": "fake", "method": "test"},
                        "layers": [{"layer": 3, "above": 5, "auroc": 0.9}, {"layer": 4, "above": 5}],
                    }
                ],
            }
        ],
        "waiting": {"other": 7},
    }


def cells() -> list[CellAnswer]:
    found = []
    for sample in range(2):
        found += [
            answer("baseline", 0.0, sample, WARM if sample else COLD),
            answer("vector", -0.6, sample, LOOP, nll=3.0),
            answer("vector", -0.3, sample, COLD),
            answer("vector", 0.3, sample, WARM),
            answer("random", -0.3, sample, COLD if sample else WARM),
            answer("random", 0.3, sample, COLD if sample else WARM),
            answer("system", 0.0, sample, WARM, "positive"),
            answer("system", 0.0, sample, COLD, "negative"),
            answer("both", 0.3, sample, WARM, "positive"),
            answer("both", -0.3, sample, COLD, "negative"),
        ]
    return found


@pytest.fixture
def result(about: About) -> SweepResult:
    return result_of(about, cells())


def test_it_says_what_there_is_and_what_is_missing(result: SweepResult) -> None:
    assert result.cells == CellCounts(expected=27, done=20, measured=20, judged=0)
    assert result.cells.missing == 7


def test_it_is_plain_json_and_comes_back(result: SweepResult) -> None:
    values = to_json(result)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert from_json(SweepResult, values) == result


def test_a_curve_holds_every_measure_by_dose(result: SweepResult) -> None:
    (vector, *_) = result.models[0].series
    (curve,) = vector.curves
    points = {point.dose: point for point in curve.points}
    assert list(points) == [-0.6, -0.3, 0.0, 0.3]
    assert [point.rate.share for point in points.values()] == [0, 0, 0.5, 1]
    assert points[-0.6].degenerate.share == 1
    assert points[-0.6].reasons["one word over and over"] == 2
    ratio, kl, caring = points[-0.6].perplexity_ratio, points[0.3].kl, points[0.3]
    assert ratio is not None and ratio.value == pytest.approx(np.e**2)
    assert kl == pytest.approx(0.3)
    assert caring.reading == Mean(0.3, pytest.approx(0.3), pytest.approx(0.3), 2)  # type: ignore[arg-type]
    assert caring.reading_above is not None and caring.reading_above.value == pytest.approx(0.6)
    assert caring.score is not None and caring.score.value == pytest.approx(6.0)
    plain = points[0.0].reading
    assert plain is not None and plain.value == 0  # an unsteered text is read at this layer too
    assert [each.text for each in caring.texts] == [WARM, WARM]
    assert caring.truncated == 2


def test_success_and_dose_response_by_curve_layer_and_series(result: SweepResult) -> None:
    vector = result.models[0].series[0]
    (layer,), (curve,) = vector.layers, vector.curves
    assert vector.success == layer.success == curve.success
    assert layer.auroc == 0.9
    assert vector.success.cells == 3
    assert vector.success.strict.share == 1
    assert vector.success.broken == 1
    slope = vector.response.slope
    assert slope.value > 0
    assert slope.low <= slope.value <= slope.high


def test_a_strength_is_usable_up_to_where_answers_break(result: SweepResult) -> None:
    assert result.models[0].series[0].response.usable in ((-0.3, 0.3), (0.0, 0.3))


def test_the_arms_stand_side_by_side(result: SweepResult) -> None:
    (row,) = result.models[0].sceptic
    assert (row.vector, row.layer, row.up, row.down) == ("kindness", 3, 0.3, -0.3)
    shares = {name: rate and rate["share"] for name, rate in to_json(row.rates).items()}
    assert shares == {
        "baseline": 0.5,
        "vector_up": 1,
        "vector_down": 0,
        "random_up": 0.5,
        "random_down": 0.5,
        "prompt_positive": 1,
        "prompt_negative": 0,
        "both_up": 1,
        "both_down": 0,
        "ablated": None,
        "random_ablated": None,
    }
    (prompt,) = result.models[0].prompts
    rates = [point and point.rate.share for point in (prompt.positive, prompt.negative)]
    assert rates == [1, 0]


def test_both_is_measured_against_its_system_prompt_alone(result: SweepResult) -> None:
    series = {(each.arm, each.pole): each for each in result.models[0].series}
    assert list(series) == [("vector", ""), ("random", ""), ("both", "negative"), ("both", "positive")]
    (curve,) = series["both", "positive"].curves
    assert [(point.dose, point.rate.share) for point in curve.points] == [(0.0, 1.0), (0.3, 1.0)]
    assert series["both", "positive"].success.strict.share == 0  # there was nothing left to raise


@pytest.mark.parametrize(
    "kept",
    [
        lambda cell: False,
        lambda cell: cell.arm == "baseline",
        lambda cell: cell.arm == "vector",
        lambda cell: cell.arm in ("baseline", "vector") and cell.sample == 0,
    ],
)
def test_half_a_run_has_a_result_too(about: About, kept: Callable[[Cell], bool]) -> None:
    answers = [each for each in cells() if kept(each.cell)]
    result = result_of(about, answers)
    assert result.cells.done == len(answers)
    assert from_json(SweepResult, to_json(result)) == result


def test_a_series_without_a_baseline_waits_for_one(about: About) -> None:
    steered = [each for each in cells() if each.cell.arm == "vector"]
    assert result_of(about, steered).models[0].series == ()


def test_answers_that_are_not_measured_have_none(about: About) -> None:
    bare = [CellAnswer(each.cell, each.text, each.reason, each.ids, {}) for each in cells()]
    point = result_of(about, bare).models[0].series[0].curves[0].points[0]
    assert point.score is point.reading is point.perplexity_ratio is point.judge is None
    assert point.perplexity is point.kl is None
