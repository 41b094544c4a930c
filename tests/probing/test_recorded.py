"""Results as runs."""

from __future__ import annotations

from pathlib import Path

from localprobe.contrast.pairs import Pair
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from localprobe.probing.recorded import record
from localprobe.probing.result import ProbeResult
from localprobe.store.json_values import from_json
from localprobe.store.runs import Runs

QUICK = ProbeConfig(resamples=100, permutations=10, random_directions=20)


def test_a_run_holds_the_result_and_says_what_it_was_made_of(shouting: list[Pair], tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs.sqlite")
    report = fit(Model(FakeEngine()), shouting, QUICK, concept="shouting", validate=False)
    kept = record(report, "fit", pairs="mine.jsonl", hashes={"pairs mine.jsonl": "abc"}, runs=runs)
    run = runs.get(kept.run)
    assert (run.kind, run.name) == ("fit", "shouting on fake (fake)")
    assert run.about["hashes"] == {"pairs mine.jsonl": "abc"}
    assert from_json(ProbeResult, run.result) == kept.result
    assert kept.result.pairs == "mine.jsonl"
    assert kept.vector is report.vector
