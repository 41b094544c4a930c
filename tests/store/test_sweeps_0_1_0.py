"""What 0.1.0 kept of sweeps, read as today's results."""

from __future__ import annotations

from typing import Any

from localprobe.experiments.result import CellCounts, SweepResult
from localprobe.store import results_0_1_0
from localprobe.store.changes import StoredRun
from localprobe.store.json_values import from_json, to_json
from tests.report.sweeps import CARING, TASK, sweep

ABOUT: dict[str, Any] = {
    "experiment": {
        "name": "small",
        "concept": "empathy",
        "positions": "all",
        "samples": 2,
        "tokens": 8,
        "seed": 0,
        "arms": ["vector"],
        "strengths": {"unit": "dose", "values": [-0.3, 0.0, 0.3]},
        "sampler": {"temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    },
    "models": [{"model": "fake", "expected": 12}],
    "waiting": {"other": 7},
}
WHOLE = sweep(lambda at: CARING if at.dose > 0 else TASK, samples=1, layers=(1,))


def test_a_sweep_without_a_result_has_no_answers() -> None:
    result = from_json(SweepResult, results_0_1_0.sweep(StoredRun(ABOUT, {})).result)
    assert (result.name, result.unit, result.models) == ("small", "dose", ())
    assert result.cells == CellCounts(expected=19, done=0, measured=0, judged=0)


def test_a_series_without_curves_is_left_out() -> None:
    waiting = {"vector": "other", "arm": "vector", "pole": "", "success": None, "response": None}
    old = to_json(WHOLE)
    old["models"][0]["series"].append({**waiting, "layers": [], "curves": []})
    assert from_json(SweepResult, results_0_1_0.sweep(StoredRun(ABOUT, old)).result) == WHOLE


def test_steering_of_a_reproduction_keeps_the_id_of_its_run() -> None:
    old = {**to_json(WHOLE), "run": "0123abcd"}
    assert results_0_1_0._steering(old) == old
