"""Vectors and tiny models to bake."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from localprobe.testing.tiny import tiny_folder
from localprobe.vectors.vector import Direction, Origin, Vector

_TORCH = all(find_spec(name) for name in ("torch", "transformers", "accelerate"))
collect_ignore_glob = [] if _TORCH else ["test_removal.py", "test_exactness.py", "test_real.py", "test_check.py"]
WIDTH = 64


@pytest.fixture
def vector() -> Callable[..., Vector]:
    """Makes a random vector for a tiny model, at layers 1 and 2, of which 2 is the best."""

    def made(seed: int = 0, concept: str = "calm", width: int = WIDTH) -> Vector:
        random = np.random.default_rng(seed)
        directions = {layer: Direction(random.standard_normal(width).astype(np.float32)) for layer in (1, 2)}
        return Vector(concept, Origin(""), directions, 2)

    return made


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny_folder("llama", tmp_path / "tiny-llama")
