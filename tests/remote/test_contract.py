"""Each installed engine keeps the contract behind `remote` too, on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe import discovery, remote
from localprobe.engine import Engine, LoadOptions, Weights
from localprobe.testing import EngineContract
from localprobe.testing.tiny import tiny_folder, tiny_gguf


def load(name: str, folder: Path) -> Engine:
    if name == "llama":
        weights = Weights("tiny", tiny_gguf("llama", folder / "tiny.gguf"), "gguf", "tiny")
    else:
        weights = Weights("tiny", tiny_folder("llama", folder), "folder", "tiny")
    return remote.load(name, weights, LoadOptions(dtype=None if name == "llama" else "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("engine_name", ["llama", "mlx", "torch"], scope="class")
class TestRemote(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, engine_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        if not discovery.installed(engine_name):
            pytest.skip(f"{engine_name} is not installed")
        engine = load(engine_name, tmp_path_factory.mktemp(engine_name))
        yield engine
        engine.close()

    @pytest.fixture(autouse=True)
    def _other_kernels(self, request: pytest.FixtureRequest, engine_name: str) -> None:
        """llama.cpp sums in another type or order in some tests."""
        if engine_name == "llama":
            from tests.backends.llama_models import SUMS_IN_FLOAT16, summed_otherwise

            self.tolerance = SUMS_IN_FLOAT16 if summed_otherwise(request.function) else None

    @pytest.fixture
    def spare_engine(self, engine_name: str, tmp_path: Path) -> Engine:
        return load(engine_name, tmp_path)
