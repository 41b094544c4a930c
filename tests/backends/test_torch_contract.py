"""The torch engine keeps every promise of the contract, on each architecture whose blocks it knows by path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.engine import Engine, LoadOptions
from localprobe.testing import EngineContract
from localprobe.testing.tiny import tiny_folder
from localprobe_torch import backend
from tests import bundled
from tests.backends.torch_models import EACH_ARCHITECTURE, load


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE, scope="class")
class TestTorch(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(tiny_folder(architecture, tmp_path_factory.mktemp(architecture)))
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, architecture: str, tmp_path: Path) -> Engine:
        return load(tiny_folder(architecture, tmp_path))


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)], scope="class")
class TestTorchInHalf(EngineContract):
    """As on a GPU: steering and pooling are in float32 all the same."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, dtype: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(tiny_folder("qwen2", tmp_path_factory.mktemp("half")), dtype=dtype)
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, dtype: str, tmp_path: Path) -> Engine:
        return load(tiny_folder("qwen2", tmp_path), dtype=dtype)


@pytest.mark.real
@pytest.mark.slow
class TestTorchOnSmolLM2(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        with bundled.as_folder(bundled.smollm2(), tmp_path_factory.mktemp("smollm2")) as weights:
            engine = backend.load(weights, LoadOptions())
            yield engine
            engine.close()


@pytest.mark.real
@pytest.mark.slow
class TestTorchOnGemma(EngineContract):
    """K-quants, made into float32; residuals of up to 1e5."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        scratch = tmp_path_factory.mktemp("gemma")
        with bundled.as_folder(bundled.gemma(scratch), scratch) as weights:
            engine = backend.load(weights, LoadOptions())
            yield engine
            engine.close()
