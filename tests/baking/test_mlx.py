"""Baked folders on MLX: they load there, and the check runs there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

from localprobe.baking import bake, check
from localprobe.errors import UnsupportedModel
from localprobe.model import Model
from localprobe.testing.tiny import tiny_folder
from localprobe.vectors.vector import Vector

pytestmark = pytest.mark.mlx
Made = Callable[..., Vector]


@pytest.fixture(autouse=True)
def only_mlx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "engines", lambda: ["mlx"])


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt_neox"])
def test_the_folder_loads_and_has_nothing_left_along_the_direction(
    architecture: str, vector: Made, tmp_path: Path
) -> None:
    source = tiny_folder(architecture, tmp_path / "source")
    done = bake(str(source), [vector()], tmp_path / "baked")
    assert done.check is not None
    assert done.check.engine == "mlx"
    assert done.check.left < 1e-4
    direction = vector().directions[2].vector
    with Model.load(str(tmp_path / "baked"), "mlx") as model:
        residuals = model.pooled(["Kind words cost nothing."])[0]  # (layers, width)
    parts = np.abs(residuals @ (direction / np.linalg.norm(direction))) / np.linalg.norm(residuals, axis=-1)
    assert parts.max() < 1e-5


def test_gpt2_whose_head_mlx_lm_always_ties_is_refused_there_and_not_kept(vector: Made, tmp_path: Path) -> None:
    source = tiny_folder("gpt2", tmp_path / "source")
    with pytest.raises(UnsupportedModel, match="has an unembedding of its own"):
        bake(str(source), [vector()], tmp_path / "baked")
    assert not (tmp_path / "baked").exists()
