"""Files of captured residuals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from localprobe.capture.file import writing
from localprobe.capture.residuals import capture, pooled
from localprobe.fake import FakeEngine
from localprobe.vectors.vector import Origin

TEXTS = ["One.", "A longer text than that.", "Three"]


def write(engine: FakeEngine, path: Path, pooling: str) -> None:
    tokens = np.array([len(engine.encode(text)) for text in TEXTS])
    with writing(path, Origin.of(engine.info, method="capture", pooling=pooling), [1, 4], tokens) as file:
        for captured in capture(engine, TEXTS, [1, 4], pooling):
            file.add(captured)


def test_pooled_residuals_can_be_read_by_anyone(engine: FakeEngine, tmp_path: Path) -> None:
    write(engine, tmp_path / "c.safetensors", "mean")
    tensors = load_file(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(tensors["residuals"], pooled(engine, TEXTS, [1, 4]))
    assert tensors["tokens"].tolist() == [5, 25, 6]
    with safe_open(tmp_path / "c.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["localprobe"])
    assert about["layers"] == [1, 4]
    assert about["origin"]["weights"] == engine.info.weights


def test_every_token_is_found_by_its_texts_offset(engine: FakeEngine, tmp_path: Path) -> None:
    write(engine, tmp_path / "c.safetensors", "tokens")
    tensors = load_file(tmp_path / "c.safetensors")
    start, stop = tensors["offsets"][1:3]
    found = next(c for c in capture(engine, TEXTS, [1, 4], "tokens") if c.index == 1)
    np.testing.assert_array_equal(tensors["residuals"][start:stop], found.residuals.swapaxes(0, 1))


def test_nothing_is_left_of_a_capture_that_failed(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_text("what was already there")
    with (
        pytest.raises(KeyboardInterrupt),
        writing(path, Origin.of(engine.info, method="capture", pooling="mean"), [1], np.array([3])),
    ):
        raise KeyboardInterrupt
    assert path.read_text() == "what was already there"
    assert list(tmp_path.iterdir()) == [path]
