"""What the Runs screen shows of the runs in a store that localprobe 0.1.0 wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from localprobe.store.runs import Runs
from localprobe_tui.runs.detail import opened
from localprobe_tui.runs.run_list import result_text

STORE = Path(__file__).parents[1] / "store" / "data" / "runs-0.1.0.sqlite"


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(Path(shutil.copy(STORE, tmp_path / "runs.sqlite")))


def test_the_list_says_what_each_run_found(runs: Runs) -> None:
    assert {run.id: result_text(run) for run in runs.summaries() if result_text(run)} == {
        "6a73e993": "11/11",
        "345ddba6": "25/44",
        "abbc9cc2": "12/12",
        "d4af3cd3": "0.88 @14",
    }


def test_every_run_opens(runs: Runs) -> None:
    verdicts = {run.id: str(opened(runs, runs.get(run.id)).verdict) for run in runs.summaries()}
    assert verdicts["d4af3cd3"].startswith("Not shown: on 5 unseen pairs")
    assert verdicts["8595bcd7"].startswith("smollm2-135m (llama, Q4_1)")
    assert all(verdicts.values())
