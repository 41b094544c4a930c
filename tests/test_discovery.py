from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from localprobe import discovery
from localprobe.engine import Availability
from localprobe.errors import EngineError, EngineNotInstalled, UnknownEngine


class Machine:
    """A make-believe machine: which engines are registered and installed, and what it runs on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.libraries: set[str] = set()
        self.points: list[EntryPoint] = []
        self.modules: dict[str, Any] = {}
        self.apple = self.driver = False
        monkeypatch.setattr(discovery.metadata, "entry_points", lambda group: self.points)
        monkeypatch.setattr(discovery, "find_spec", lambda name: name if name in self.libraries else None)
        monkeypatch.setattr(discovery, "is_apple_silicon", lambda: self.apple)
        monkeypatch.setattr(discovery, "has_gpu_driver", lambda: self.driver)
        monkeypatch.setattr(EntryPoint, "load", lambda point: self.modules[point.value])

    def add(
        self, name: str, *libraries: str, formats: tuple[str, ...], gpu: bool = False, installed: bool = True
    ) -> None:
        self.libraries.update(libraries)
        self.points.append(EntryPoint(name, f"{name}_module:backend", discovery.GROUP))
        available = Availability(installed, reason=f"run pip install {name}-lib", gpu=gpu)
        self.modules[f"{name}_module:backend"] = SimpleNamespace(
            name=name, formats=formats, available=lambda: available, load=lambda weights, options: None
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def full(machine: Machine) -> Machine:
    """All of ours, installed."""
    machine.add("fake", formats=("fake",))
    machine.add("torch", "torch", "transformers", "accelerate", formats=("folder",), gpu=True)
    machine.add("mlx", "mlx_lm", formats=("folder",))
    machine.add("llama", "llama_cpp", formats=("gguf",))
    return machine


def test_names_hide_the_fake(full: Machine) -> None:
    assert discovery.names() == ("llama", "mlx", "torch")
    assert discovery.names(hidden=True) == ("fake", "llama", "mlx", "torch")
    assert discovery.backend("fake").name == "fake"


def test_the_best_engine_by_default(full: Machine) -> None:
    assert discovery.best().name == "llama"  # never MLX on Linux, though it is installed
    full.driver = True
    assert discovery.best().name == "torch"
    full.driver, full.apple = False, True
    assert discovery.best().name == "mlx"


def test_a_driver_without_a_working_cuda_changes_nothing(machine: Machine) -> None:
    machine.driver = True
    machine.add("torch", "torch", "transformers", "accelerate", formats=("folder",), gpu=False)
    machine.add("llama", "llama_cpp", formats=("gguf",))
    assert discovery.best().name == "llama"


def test_torch_is_not_asked_about_cuda_where_there_is_no_driver(full: Machine) -> None:
    full.modules["torch_module:backend"].available = lambda: pytest.fail("torch was imported")
    assert discovery.best().name == "llama"


def test_only_engines_that_load_the_format(full: Machine) -> None:
    assert discovery.best({"folder"}).name == "torch"
    assert discovery.best({"gguf", "folder"}).name == "llama"
    assert discovery.best({"fake"}).name == "fake"


def test_only_installed_engines(full: Machine) -> None:
    full.libraries.discard("llama_cpp")
    assert discovery.best().name == "torch"
    full.libraries.discard("transformers")
    full.add("other", formats=("gguf",))
    assert discovery.best().name == "other"  # a third party's comes last, but before none


def test_none_installed_says_what_to_run(full: Machine) -> None:
    full.libraries.clear()
    with pytest.raises(
        EngineNotInstalled, match=r"run pip install 'localprobe\[llama\]' .* or pip install 'localprobe\[torch\]'"
    ):
        discovery.best()
    with pytest.raises(
        EngineNotInstalled, match=r"no engine that loads Hugging Face folders .* run pip install 'localprobe\[torch"
    ):
        discovery.best({"folder"})
    full.apple = True
    with pytest.raises(EngineNotInstalled, match=r"localprobe\[mlx\]"):
        discovery.best()


def test_choose_takes_the_users_word(full: Machine) -> None:
    assert discovery.choose("mlx").name == "mlx"
    assert discovery.choose(None, {"folder"}).name == "torch"
    full.libraries.discard("torch")
    with pytest.raises(
        EngineNotInstalled, match=r"engine 'torch' is not installed: run pip install 'localprobe\[torch\]'"
    ):
        discovery.choose("torch")
    full.add("other", formats=("gguf",), installed=False)
    with pytest.raises(EngineNotInstalled, match="engine 'other' is not installed: run pip install other-lib"):
        discovery.choose("other")


def test_an_unknown_engine_lists_the_known(full: Machine) -> None:
    with pytest.raises(
        UnknownEngine, match=r"no engine is named 'pytorch' \(did you mean 'torch'\?\): there are llama, mlx, torch"
    ):
        discovery.backend("pytorch")
    with pytest.raises(UnknownEngine, match="no engine is named 'zzz': there are llama, mlx, torch"):
        discovery.backend("zzz")


def test_a_broken_third_party_is_one_line(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(point: EntryPoint) -> None:
        raise ImportError("libfoo.so:\n  no such file")

    machine.add("foo", formats=("gguf",))
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(EngineError) as error:
        discovery.backend("foo")
    assert str(error.value) == (
        "engine 'foo' of package foo_module:backend cannot be loaded (ImportError: libfoo.so: no such file): "
        "reinstall or uninstall that package"
    )


def test_a_third_party_that_registers_something_else(machine: Machine) -> None:
    machine.add("foo", formats=("gguf",))
    machine.modules["foo_module:backend"] = object()
    with pytest.raises(
        EngineError, match=r"engine 'foo' .* is broken: foo_module:backend is not a backend of that name"
    ):
        discovery.backend("foo")


def test_two_packages_with_one_name(machine: Machine) -> None:
    machine.add("foo", formats=("gguf",))
    machine.points.append(EntryPoint("foo", "impostor:backend", discovery.GROUP))
    with pytest.raises(
        EngineError, match="packages foo_module:backend and impostor:backend both register engine 'foo'"
    ):
        discovery.names()


def test_listing_the_engines_that_are_installed_here_imports_none() -> None:
    heavy = ["torch", "mlx", "mlx_lm", "llama_cpp", "transformers", "numpy", "localprobe_torch"]
    code = (
        "import sys; from localprobe import discovery; [discovery.installed(name) for name in discovery.names()]; "
        f"assert not set({heavy}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
