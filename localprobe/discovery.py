"""The registered engines, and which one to use.

An engine is a backend in the entry-point group `localprobe.backends`; our own register in the same way as those of
third parties. Listing names imports nothing; loading an engine imports only that one.
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from localprobe.errors import EngineError, EngineNotInstalled, UnknownEngine
from localprobe.machine import has_gpu_driver, is_apple_silicon
from localprobe.suggest import close_match

if TYPE_CHECKING:
    from collections.abc import Collection

    from localprobe.engine import Backend, WeightsFormat

GROUP = "localprobe.backends"
HIDDEN = ("fake",)
"""Engines for tests: always registered, but neither listed nor chosen unless named."""

LIBRARIES = {"mlx": ("mlx_lm",), "torch": ("torch", "transformers", "accelerate"), "llama": ("llama_cpp",)}
"""The modules that our own engines need; `installed` looks for them without importing them."""

_INSTALL = {
    "mlx": "pip install 'localprobe[mlx]' (Apple silicon)",
    "llama": "pip install 'localprobe[llama]' (any machine, GGUF files; needs a C++ compiler)",
    "torch": "pip install 'localprobe[torch]' (Hugging Face models; CUDA or CPU)",
}


def names(*, hidden: bool = False) -> tuple[str, ...]:
    """Names of the registered engines, sorted, whether their libraries are installed or not."""
    return tuple(sorted(name for name in _registered() if hidden or name not in HIDDEN))


def backend(name: str) -> Backend:
    """The backend of an engine.

    Raises UnknownEngine if none is registered under that name, EngineError if its package is broken. Its library may
    still be missing: see `installed` and `Backend.available`.
    """
    registered = _registered()
    if name not in registered:
        listed = sorted(engine for engine in registered if engine not in HIDDEN)
        match = close_match(name, tuple(registered))
        meant = f" (did you mean {match!r}?)" if match else ""
        raise UnknownEngine(f"no engine is named {name!r}{meant}: there are {', '.join(listed)}")
    return _load(registered[name])


def installed(name: str) -> bool:
    """Whether an engine's library is installed. Takes milliseconds for our engines, which are not imported for this."""
    if libraries := LIBRARIES.get(name):
        return all(find_spec(library) is not None for library in libraries)
    return backend(name).available().installed


def choose(name: str | None = None, formats: Collection[WeightsFormat] | None = None) -> Backend:
    """The engine of that name, or the best one if None. Raises EngineNotInstalled with the command to run."""
    if name is None:
        return best(formats)
    engine = backend(name)
    if not installed(name):
        raise EngineNotInstalled(
            f"engine {name!r} is not installed: "
            + (f"run {_INSTALL[name]}" if name in _INSTALL else engine.available().reason)
        )
    return engine


def best(formats: Collection[WeightsFormat] | None = None) -> Backend:
    """The engine to use if the user names none, of those installed.

    MLX on Apple silicon, torch where CUDA works, llama.cpp anywhere else, then torch on the CPU, then third parties'.
    Never MLX off a Mac, where it runs on one slow CPU path, and the fake only if `formats` allows no other. With
    `formats`, only engines that load one of these without conversion. Raises EngineNotInstalled.
    """
    if formats is not None and set(formats) <= {"fake"}:
        return backend("fake")
    registered = _registered()
    for name in _preference(tuple(registered)):
        if name not in registered or not installed(name):
            continue
        candidate = _load(registered[name])
        if formats is None or set(formats) & set(candidate.formats):
            return candidate
    raise EngineNotInstalled(_how_to_install(formats))


def _preference(registered: tuple[str, ...]) -> tuple[str, ...]:
    ours = ["llama", "torch"]
    if is_apple_silicon():
        ours = ["mlx", *ours]
    elif "torch" in registered and has_gpu_driver() and installed("torch") and backend("torch").available().gpu:
        ours = ["torch", "llama"]
    others = sorted(name for name in registered if name not in LIBRARIES and name not in HIDDEN)
    return (*ours, *others)


def _how_to_install(formats: Collection[WeightsFormat] | None) -> str:
    commands = dict(_INSTALL)
    if not is_apple_silicon():
        del commands["mlx"]
    what = "no engine is installed"
    if formats is not None and "gguf" not in formats:
        del commands["llama"]
        what = "no engine that loads Hugging Face folders is installed"
    return f"{what}; run {' or '.join(commands.values())}"


def _registered() -> dict[str, metadata.EntryPoint]:
    """Entry points by name. Raises EngineError if two packages register the same name."""
    points: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=GROUP):
        other = points.setdefault(point.name, point)
        if other.value != point.value:
            raise EngineError(
                f"packages {_package(other)} and {_package(point)} both register engine {point.name!r}: uninstall one"
            )
    return points


def _load(point: metadata.EntryPoint) -> Backend:
    from localprobe.engine import Backend

    try:
        loaded = point.load()
    except Exception as error:  # third-party code may raise anything on import
        raise EngineError(
            f"engine {point.name!r} of package {_package(point)} cannot be loaded "
            f"({type(error).__name__}: {' '.join(str(error).split())}): reinstall or uninstall that package"
        ) from error
    if not isinstance(loaded, Backend) or loaded.name != point.name:
        raise EngineError(
            f"engine {point.name!r} of package {_package(point)} is broken: {point.value} is not a backend of that name"
        )
    return loaded


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
