"""Running the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from localprobe import cli
from localprobe.fake import FakeEngine
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Direction, Origin, Vector


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def ran(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["localprobe", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return ran


@pytest.fixture
def vector_file(tmp_path: Path) -> Path:
    """A vector for the fake model, at layers 2 and 4."""
    engine = FakeEngine()
    random = np.random.default_rng(0)
    directions = {}
    for layer in (2, 4):
        v = random.standard_normal(engine.info.width).astype(np.float32)
        directions[layer] = Direction(v / np.linalg.norm(v))
    path = tmp_path / "kindness.safetensors"
    vector_files.save(Vector("kindness", Origin.of(engine.info, method="test", pooling="mean"), directions, 2), path)
    return path
