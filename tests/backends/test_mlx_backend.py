"""What registers: found without importing MLX, and saying how to install it where it is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from localprobe.engine import Backend, LoadOptions, Weights
from localprobe.errors import EngineNotInstalled
from localprobe_mlx import backend


def test_importing_the_backend_imports_no_mlx() -> None:
    code = "import sys, localprobe_mlx; print([n for n in sys.modules if n.startswith(('mlx', 'transformers'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_is_a_backend_that_loads_folders() -> None:
    assert isinstance(backend, Backend)
    assert (backend.name, backend.formats) == ("mlx", ("folder",))


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (ModuleNotFoundError("No module named 'mlx'", name="mlx"), "mlx is not installed: "),
        (ImportError("libopenblas.so.0: cannot open\nshared object"), "MLX cannot be imported (libopenblas.so.0: can"),
    ],
)
def test_where_mlx_is_missing_the_pip_line_is_given(
    problem: ImportError, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def fail(name: str) -> Any:
        raise problem

    monkeypatch.setattr(importlib, "import_module", fail)
    found = backend.available()
    assert not found.installed
    assert found.reason.startswith(reason)
    assert found.reason.endswith("pip install 'localprobe[mlx]'")
    assert "\n" not in found.reason
    with pytest.raises(EngineNotInstalled, match=r"pip install 'localprobe\[mlx\]'"):
        backend.load(Weights("m", tmp_path, "folder", "abc"), LoadOptions())


@pytest.mark.skipif(find_spec("mlx") is None, reason="mlx is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="about Linux")
def test_on_linux_it_says_that_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from localprobe_mlx import backend; found = backend.available(); print(found.version, found.gpu, found.notes)"
    )
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("mlx 0.")
    if " False (" in done.stdout:
        assert "for tests" in done.stdout
        assert "LD_PRELOAD" in done.stdout
