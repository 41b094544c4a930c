"""`localprobe demo`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from localprobe.contrast import pairs, scenarios
from localprobe.fake import FakeEngine
from localprobe.vectors import files as vector_files
from tests.cli.conftest import Run


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake engine has a token a byte and a context of 512, so it gets shorter texts."""
    whole, told = pairs.read_pairs, scenarios.scenario

    def cut(path: Path) -> list[pairs.Pair]:
        return [replace(p, positive=p.positive[:60], negative=p.negative[:60]) for p in whole(path)]

    monkeypatch.setattr(pairs, "read_pairs", cut)
    monkeypatch.setattr(scenarios, "scenario", lambda name: replace(told(name), situation="A door.", pressure="Soon."))


def test_the_demo_on_the_fake_engine_and_again(
    run: Run, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "empathy.safetensors"
    first = run("demo", "--model", "fake", "--engine", "fake", "-o", output)
    assert first.status == 0, first.err
    assert "fitted on 42 pairs, measured on the 18 held out" in " ".join(first.out.split())
    assert len(re.findall(r"← chosen", first.out)) == 1
    for dose in ("-0.25", "+0.00", "+0.25"):
        assert f"dose {dose}" in first.out
    assert "localprobe steer" in first.out
    vector = vector_files.load(output)
    assert sorted(vector.directions) == list(range(6))
    assert vector.best in (1, 2, 3, 4)
    assert vector.directions[2].scale > 0
    monkeypatch.setattr(FakeEngine, "forward", lambda *_: pytest.fail("captured twice"))
    again = run("demo", "--model", "fake", "--engine", "fake", "-o", output)
    assert again.status == 0, again.err


def test_a_model_too_small_for_the_scenario_is_refused_before_the_fit(run: Run, tmp_path: Path, short: None) -> None:
    output = tmp_path / "empathy.safetensors"
    ran = run("demo", "--model", "fake", "--engine", "fake", "--context", 16, "-o", output)
    assert ran.status == 2
    assert "and fake holds 16: shorten it" in ran.err
    assert (ran.out, output.exists()) == ("", False)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(900)
def test_the_demo_on_the_bundled_model(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    output = tmp_path / "empathy.safetensors"
    ran = run("demo", "--engine", "llama", "-o", output)
    assert ran.status == 0, ran.err
    vector = vector_files.load(output)
    assert 7 <= vector.layer() <= 22
    assert vector.directions[vector.layer()].measures["auroc"] > 0.7
    readings = re.findall(r"([+-]\d+\.\d) at\s+(?:│\s+)?layer", ran.out)
    assert len(readings) >= 3, ran.out
