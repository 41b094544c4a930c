"""The torch engine keeps every promise of the contract, on each architecture whose blocks it knows by path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localprobe.engine import Engine, LoadOptions, Weights
from localprobe.testing import EngineContract
from localprobe.testing.tiny import ARCHITECTURES, tiny_folder

pytest.importorskip("torch")

from localprobe_torch import backend


def load(architecture: str, folder: Path) -> Engine:
    return backend.load(Weights(architecture, tiny_folder(architecture, folder), "folder", "tiny"), LoadOptions())


@pytest.mark.parametrize("architecture", ARCHITECTURES, scope="class")
class TestTorch(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = load(architecture, tmp_path_factory.mktemp(architecture))
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self, architecture: str, tmp_path: Path) -> Engine:
        return load(architecture, tmp_path)
