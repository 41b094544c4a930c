"""Experiments for the fake model: small, and everything in them true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localprobe.experiments.experiment import Experiment, ModelChoice
from localprobe.experiments.experiment_file import read_experiment
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.store.runs import Runs

TOML = """
doses = [-0.5, 0, 0.5]
layers = [2, 3]
samples = 2
tokens = 12
[[models]]
name = "fake"
[[vectors]]
fit = "pairs.jsonl"
name = "kindness"
[[prompts]]
id = "hello"
text = "Hello, what now?"
[[prompts]]
id = "raw"
text = "Once upon a time"
raw = true
"""

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an experiment: TOML, with lines put before it, and others put in place of those that begin alike."""
    pairs = [
        {"positive": f"I stay with you, {i}.", "negative": f"I go to the gate, {i}.", "scenario": str(i % 2)}
        for i in range(8)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "prompts.json").write_text('{"positive": "Be kind.", "negative": "Be quick."}')

    def written(*lines: str, without: str = "") -> Path:
        own = [line.split("=")[0] for line in lines]
        kept = [line for line in TOML.splitlines() if line.split("=")[0] not in own and line != without]
        path = tmp_path / "experiment.toml"
        path.write_text("\n".join([*lines, *kept]))
        return path

    return written


@pytest.fixture
def experiment(write: Write) -> Experiment:
    return read_experiment(write())


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs.sqlite")


@contextmanager
def loaded(choice: ModelChoice) -> Iterator[Model]:
    """The fake model, without a canary."""
    with Model(FakeEngine()) as model:
        yield model
