"""From cells to one result: what the report, `--json` and the app read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from localprobe.experiments.cells import Answer
from localprobe.experiments.grid import Cell
from localprobe.experiments.points import mean
from localprobe.experiments.result import result_of

WARM = "I stop and listen, because I understand how he must feel, and I want to help him with all of my care today."
COLD = "I proceed to the objective, because the task is to win, and an efficient strategy will achieve the goal today."
LOOP = "so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so"

About = dict[str, Any]


def answer(
    arm: str, dose: float, sample: int, text: str, pole: str = "", layer: int | None = 3, nll: float = 1.0
) -> Answer:
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
    measures = {"nll": nll, "readings": {"kindness:3": dose, "kindness:5": 2 * dose}, "kl": abs(dose)}
    return Answer(cell, text, "length", np.arange(4, dtype=np.int32), {"kindness:3": 20 * dose}, measures)


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
            "prompts": [{"id": "hello", "title": "Hello", "pressure": True}],
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
                    {"name": "kindness", "layers": [{"layer": 3, "above": 5, "auroc": 0.9}, {"layer": 4, "above": 5}]}
                ],
            }
        ],
        "waiting": {"other": 7},
    }


def cells() -> list[Answer]:
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
def result(about: About) -> dict[str, Any]:
    return result_of(about, cells())


def test_it_says_what_there_is_and_what_is_missing(result: dict[str, Any]) -> None:
    assert result["cells"] == {"expected": 27, "done": 20, "measured": 20, "judged": 0}
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_curve_holds_every_measure_by_dose(result: dict[str, Any]) -> None:
    (vector, *_) = result["models"][0]["series"]
    (curve,) = vector["curves"]
    points = {point["dose"]: point for point in curve["points"]}
    assert list(points) == [-0.6, -0.3, 0.0, 0.3]
    assert [point["rate"]["share"] for point in points.values()] == [0, 0, 0.5, 1]
    assert points[-0.6]["degenerate"]["share"] == 1
    assert points[-0.6]["reasons"]["one word over and over"] == 2
    assert points[-0.6]["perplexity_ratio"]["value"] == pytest.approx(np.e**2)
    assert points[0.3]["reading"] == {"value": 0.3, "low": pytest.approx(0.3), "high": pytest.approx(0.3), "of": 2}
    assert points[0.3]["reading_above"]["value"] == pytest.approx(0.6)
    assert points[0.3]["score"]["value"] == pytest.approx(6.0)
    assert points[0.3]["kl"] == pytest.approx(0.3)
    assert points[0.0]["reading"]["value"] == 0  # an unsteered text is read at this layer too
    assert [each["text"] for each in points[0.3]["texts"]] == [WARM, WARM]
    assert points[0.3]["truncated"] == 2


def test_success_and_dose_response_by_curve_layer_and_series(result: dict[str, Any]) -> None:
    vector = result["models"][0]["series"][0]
    (layer,), (curve,) = vector["layers"], vector["curves"]
    assert vector["success"] == layer["success"] == curve["success"]
    assert layer["auroc"] == 0.9
    assert vector["success"]["cells"] == 3
    assert vector["success"]["strict"]["share"] == 1
    assert vector["success"]["broken"] == 1
    assert vector["response"]["slope"]["value"] > 0
    assert vector["response"]["slope"]["low"] <= vector["response"]["slope"]["value"]


def test_a_strength_is_usable_up_to_where_answers_break(result: dict[str, Any]) -> None:
    vector = result["models"][0]["series"][0]
    low, high = vector["response"]["usable"]
    assert low in (-0.3, 0.0)
    assert high == 0.3


def test_the_sceptic_sees_the_arms_side_by_side(result: dict[str, Any]) -> None:
    (row,) = result["models"][0]["sceptic"]
    assert (row["vector"], row["layer"], row["up"], row["down"]) == ("kindness", 3, 0.3, -0.3)
    shares = {name: found and found["share"] for name, found in row["rates"].items()}
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
    }
    (prompt,) = result["models"][0]["prompts"]
    assert prompt["positive"]["rate"]["share"] == 1
    assert prompt["negative"]["rate"]["share"] == 0


def test_both_is_measured_against_its_system_prompt_alone(result: dict[str, Any]) -> None:
    series = {(each["arm"], each["pole"]): each for each in result["models"][0]["series"]}
    assert list(series) == [("vector", ""), ("random", ""), ("both", "negative"), ("both", "positive")]
    (curve,) = series["both", "positive"]["curves"]
    assert [(point["dose"], point["rate"]["share"]) for point in curve["points"]] == [(0.0, 1.0), (0.3, 1.0)]
    assert series["both", "positive"]["success"]["strict"]["share"] == 0  # there was nothing left to raise


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
    found = result_of(about, answers)
    assert found["cells"]["done"] == len(answers)
    json.dumps(found, allow_nan=False)


def test_answers_that_are_not_measured_have_none(about: About) -> None:
    bare = [Answer(each.cell, each.text, each.reason, each.ids, {}) for each in cells()]
    point = result_of(about, bare)["models"][0]["series"][0]["curves"][0]["points"][0]
    assert [point[name] for name in ("score", "reading", "perplexity", "perplexity_ratio", "kl", "judge")] == [None] * 6


def test_a_mean_has_students_interval() -> None:
    assert mean([None, None]) is None
    assert mean([2.0]) == {"value": 2.0, "low": None, "high": None, "of": 1}
    found = mean([1.0, 2.0, 3.0, None])
    assert found is not None
    assert (found["value"], found["of"]) == (2.0, 3)
    assert found["high"] - 2.0 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)
