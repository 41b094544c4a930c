"""The MLX engine keeps every promise of the contract, on each architecture that mlx-lm spells in its own way.

Runs in a process of its own (MLX and torch do not share one well): set LOCALPROBE_TEST_MLX=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.engine import Engine, LoadOptions, Weights
from localprobe.testing import EngineContract
from localprobe.testing.tiny import ARCHITECTURES, tiny_folder
from tests import bundled

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

from localprobe_mlx import backend

pytestmark = pytest.mark.mlx


def load(architecture: str, folder: Path, dtype: str | None = None) -> Engine:
    weights = Weights(architecture, tiny_folder(architecture, folder), "folder", "tiny")
    return backend.load(weights, LoadOptions(dtype=dtype))


@pytest.mark.parametrize("architecture", ARCHITECTURES, scope="class")
class TestMlx(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(architecture, tmp_path_factory.mktemp(architecture))
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, architecture: str, tmp_path: Path) -> Engine:
        return load(architecture, tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"], scope="class")
class TestMlxInHalf(EngineContract):
    """As on a GPU: steering and pooling are in float32 all the same."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, dtype: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load("qwen2", tmp_path_factory.mktemp("half"), dtype)
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, dtype: str, tmp_path: Path) -> Engine:
        return load("qwen2", tmp_path, dtype)


@pytest.mark.real
@pytest.mark.slow
class TestMlxOnSmolLM2(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        with bundled.as_folder(bundled.smollm2(), tmp_path_factory.mktemp("smollm2")) as weights:
            engine = backend.load(weights, LoadOptions())
            yield engine
            engine.close()
