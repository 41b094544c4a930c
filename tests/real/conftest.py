"""The bundled model on the three engines, each in a child process, so that no two libraries share one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from localprobe.discovery import LIBRARIES
from localprobe.model import Model

ENGINES = ("torch", "mlx", "llama")
_BLAS = sorted(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"))


def _load(engine: str) -> Iterator[Model]:
    if not all(find_spec(library) for library in LIBRARIES[engine]):
        pytest.skip(f"{engine} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        if engine == "mlx" and _BLAS:  # its Linux wheel links a BLAS that is twenty times slower
            patch.setenv("LD_PRELOAD", os.pathsep.join(filter(None, [str(_BLAS[0]), os.environ.get("LD_PRELOAD")])))
        model = Model.load("smollm2-135m", engine, remote=True)
    with model:
        yield model


@pytest.fixture(scope="session")
def torch_model() -> Iterator[Model]:
    yield from _load("torch")


@pytest.fixture(scope="session")
def mlx_model() -> Iterator[Model]:
    yield from _load("mlx")


@pytest.fixture(scope="session")
def llama_model() -> Iterator[Model]:
    yield from _load("llama")


@pytest.fixture(scope="session")
def models(torch_model: Model, mlx_model: Model, llama_model: Model) -> dict[str, Model]:
    """The three, in the order of ENGINES."""
    return dict(zip(ENGINES, (torch_model, mlx_model, llama_model), strict=True))
