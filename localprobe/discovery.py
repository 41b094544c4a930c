"""Which engines there are, and which one to use.

An engine is a backend in the entry-point group `localprobe.backends`; ours register as a third party's would. Listing
names imports nothing; loading one imports that one only.
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
"""Engines for tests: always there, never listed or chosen unless named."""

LIBRARIES = {"mlx": ("mlx_lm",), "torch": ("torch", "transformers", "accelerate"), "llama": ("llama_cpp",)}
"""What each of our engines must be able to import: looked for, without importing it."""

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
    still be missing: `installed` and `Backend.available` tell.
    """
    registered = _registered()
    if name not in registered:
        known = tuple(each for each in registered if each not in HIDDEN)
        match = close_match(name, tuple(registered))
        meant = f" (did you mean {match!r}?)" if match else ""
        raise UnknownEngine(f"no engine is named {name!r}{meant}: there are {', '.join(sorted(known))}")
    return _load(registered[name])


def installed(name: str) -> bool:
    """Whether an engine's library is there. Ours are only looked for, so it takes milliseconds; others are asked."""
    if libraries := LIBRARIES.get(name):
        return all(find_spec(library) is not None for library in libraries)
    return backend(name).available().installed


def choose(name: str | None = None, formats: Collection[WeightsFormat] | None = None) -> Backend:
    """The engine that the user named, or else the best one. Raises EngineNotInstalled with the command to run."""
    if name is None:
        return best(formats)
    chosen = backend(name)
    if not installed(name):
        raise EngineNotInstalled(
            f"engine {name!r} is not installed: "
            + (f"run {_INSTALL[name]}" if name in _INSTALL else chosen.available().reason)
        )
    return chosen


def best(formats: Collection[WeightsFormat] | None = None) -> Backend:
    """The engine to use if the user names none, of those installed.

    MLX on Apple silicon, torch where CUDA works, llama.cpp anywhere else, then torch on the CPU, then third parties'.
    Never MLX off a Mac, where it runs on one slow CPU path, and never the fake unless nothing else would do. With
    `formats`, only engines that load one of these themselves. Raises EngineNotInstalled.
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
    """Entry points by name. Two packages that claim one name would make the choice a matter of luck: an error."""
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise EngineError(
                f"packages {_package(other)} and {_package(point)} both register engine {point.name!r}: uninstall one"
            )
    return found


def _load(point: metadata.EntryPoint) -> Backend:
    from localprobe.engine import Backend

    try:
        loaded = point.load()
    except Exception as error:  # whatever a stranger's module does on import
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
