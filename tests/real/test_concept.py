"""From a word to a direction on the bundled model, which writes its own pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

import localprobe as lp
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_smollm2_writes_its_own_pairs_and_is_probed(
    llama_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    told: list[str] = []
    config = ProbeConfig(resamples=100, permutations=20, random_directions=20)
    report = lp.concept(
        llama_model,
        "cheerful",
        against="gloomy",
        pairs=10,
        tokens=40,
        config=config,
        output=tmp_path / "p.jsonl",
        notify=told.append,
    )
    pairs = lp.pairs(tmp_path / "p.jsonl")
    assert 8 <= len(pairs) <= 10
    assert report.result.train_pairs + report.result.test_pairs == len(pairs)
    assert report.verdict is not None
    assert lp.Library().vector("cheerful").origin.weights == llama_model.info.weights
