"""The models that these tests read: SmolLM2 and Gemma from their packages, and a tiny one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.gguf import to_folder
from localprobe.testing.tiny import tiny_gguf
from tests import bundled


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama."""
    return tiny_gguf("llama", tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return bundled.smollm2()


@pytest.fixture(scope="session")
def gemma(scratch: Path) -> Path:
    return bundled.gemma(scratch)


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
