"""Every kind of RoPE on MLX: rows alone, in mixed batches, and answers, against transformers on one text alone.

Runs in a process of its own (MLX and torch do not share one well): set LOCALPROBE_TEST_MLX=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

from localprobe.engine import Engine, LoadOptions, Row, Weights
from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.testing.tiny import tiny_folder
from localprobe_mlx import backend
from tests.backends import rope_checks, rope_models
from tests.backends.rope_models import LENGTHS, ORIGINAL, SIDED, VARIANTS, texts, write

pytestmark = pytest.mark.mlx


def load(folder: Path) -> Engine:
    return backend.load(Weights(folder.name, folder, "folder", "tiny"), LoadOptions())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("rope")
    return {name: write(name, base / str(number)) for number, name in enumerate(VARIANTS)}


@pytest.fixture(scope="module")
def states(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What transformers computes, by `folder name/text number`."""
    if not all(map(find_spec, ("torch", "transformers", "accelerate"))):
        pytest.skip("needs transformers to compare with")
    output = tmp_path_factory.mktemp("states") / "states.npz"
    script = [sys.executable, "-m", rope_models.__name__, output, *folders.values()]
    subprocess.run(script, check=True, capture_output=True, env={**os.environ, "LD_PRELOAD": ""})
    return np.load(output)


@pytest.mark.parametrize("name", VARIANTS)
def test_rows_and_answers_are_as_if_alone(name: str, folders: dict[str, Path], states: Any) -> None:
    engine = load(folders[name])
    assert engine.info.rope_length == (ORIGINAL if name in SIDED else None)
    expected = [states[f"{folders[name].name}/{number}"] for number in range(len(LENGTHS))]
    rope_checks.check_rows(engine, expected)
    rope_checks.check_decoding(engine)
    assert not any("one by one" in note for note in engine.info.notes)
    engine.close()


def test_a_cache_holds_rows_of_one_side(folders: dict[str, Path]) -> None:
    engine = load(folders["longrope, Phi-3"])
    rope_checks.check_reuse(engine)
    engine.close()


def test_dynamic_rows_end_at_the_context(folders: dict[str, Path]) -> None:
    engine = load(folders["dynamic"])
    rope_checks.check_dynamic(engine)
    engine.close()


def test_a_row_may_be_longer_than_a_part_of_its_prefill(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part of a long row is short, and rotated as the long row that it belongs to."""
    monkeypatch.setattr("localprobe_mlx.prefill._POSITIONS", 16)
    engine = load(folders["longrope"])
    rope_checks.check_decoding(engine)
    engine.close()


def test_long_factors_matter(folders: dict[str, Path]) -> None:
    """Else the tests of this file could not fail."""
    engine = load(folders["longrope, Phi-3"])
    short, long = (engine.forward([Row(texts()[3][:n])], [1])[0].residuals[0, :ORIGINAL] for n in (ORIGINAL, 120))
    assert np.linalg.norm(long - short) > 0.1 * np.linalg.norm(short)
    engine.close()


def change(folder: Path, **config: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def test_factors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0], "long_factor": [2.0] * 8}
    folder = change(tiny_folder("llama", tmp_path), rope_parameters=rope, original_max_position_embeddings=64)
    with pytest.raises(CorruptFile, match="short_factor has 1 numbers for 8 pairs"):
        load(folder)


def test_scaling_that_cannot_be_given_to_a_model_is_refused(tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    folder = change(tiny_folder("gpt2", tmp_path), rope_parameters=rope)
    with pytest.raises(UnsupportedModel, match="leaves out the RoPE scaling \\(linear\\) of gpt2 models"):
        load(folder)
