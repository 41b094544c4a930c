"""The llama.cpp engine keeps every promise of the contract, on tiny files of four families and on two real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.engine import Engine
from localprobe.testing import EngineContract, Tolerance
from localprobe.testing.tiny import GGUF_ARCHITECTURES, tiny_gguf

pytest.importorskip("llama_cpp")

from tests.backends.llama_models import load, tiny_mamba
from tests.bundled import gemma, smollm2


@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES, scope="class")
class TestTinyLlama(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(tiny_gguf(architecture, tmp_path_factory.mktemp(architecture) / "tiny.gguf"))
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, architecture: str, tmp_path: Path) -> Engine:
        return load(tiny_gguf(architecture, tmp_path / "tiny.gguf"))


class TestLlamaInLowMemory(EngineContract):
    """Weights in their file, and other kernels over them."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(tiny_gguf("llama", tmp_path_factory.mktemp("mapped") / "tiny.gguf"), low_memory=True)
        yield engine
        engine.close()


class TestLlamaOnMamba(EngineContract):
    """A model whose rows are a state: it cannot be shortened, and llama.cpp batches it otherwise."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(tiny_mamba(tmp_path_factory.mktemp("mamba") / "mamba.gguf"))
        yield engine
        engine.close()


@pytest.mark.real
@pytest.mark.slow
class TestLlamaOnSmolLM2(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[Engine]:
        engine = load(smollm2())
        yield engine
        engine.close()


@pytest.mark.real
@pytest.mark.slow
class TestLlamaOnGemma(EngineContract):
    # llama.cpp rearranges K-quants into blocks of four rows and rounds activations to 8 bits, so a number depends on
    # how many rows are computed with it: by up to a fiftieth of a residual here. (Q4_1 and floats are exact.)
    tolerance = Tolerance(residual=4e-2, logprob=0.7, uniform=0.1)

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        path = gemma(tmp_path_factory.mktemp("gemma"))
        engine = load(path)
        yield engine
        engine.close()
        path.unlink()
