"""Estimating before a load whether a model fits into memory, so that one that does not gives an error, not a crash.

Only host memory is checked. The engines check the memory of graphics cards.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localprobe.errors import OutOfMemory, UsageError
from localprobe.machine import has_gpu_driver, is_apple_silicon
from localprobe.models.checkpoint import Size, size

if TYPE_CHECKING:
    from localprobe.engine import LoadOptions, Weights

IGNORE = "LOCALPROBE_IGNORE_MEMORY"
"""Environment variable that disables the check if set to 1."""

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
BASE = 400_000_000
"""Bytes for the engine's libraries, and for the KV cache and activations of typical use."""
LOW_BASE = 250_000_000
"""The same in llama.cpp's low-memory mode, whose passes and caches are smaller."""
LLAMA_REPACKED = 1.1
"""On a CPU, llama.cpp copies most weights into a layout for its kernels (measured for Q4_0: 0.94 of the file).

The file stays resident beside the copy after a load, but its clean pages are evicted as soon as memory is needed.
"""


def check(weights: Weights, engine: str, options: LoadOptions) -> None:
    """Raise OutOfMemory, with both numbers, if loading these weights would take more than is free.

    llama.cpp switches to low memory by itself if only that fits. With `low_memory` set it loads a file of any size:
    what does not fit is read from the disk again for every token.
    """
    if weights.format == "fake" or os.environ.get(IGNORE) == "1" or (engine == "llama" and options.low_memory):
        return
    need, free = least(size(weights.path), engine, options), available()
    if need is not None and need > free:
        raise OutOfMemory(
            f"{weights.name} needs about {need / 1e9:.1f} GB in engine {engine!r} and {free / 1e9:.1f} GB of memory is "
            f"free: close other programs, use a smaller model{_smaller(engine, options)}, or set {IGNORE}=1 to try"
        )


def needed(stored: Size, engine: str, options: LoadOptions) -> int | None:
    """Bytes of host memory that an engine needs to load and run weights; None if they go to a graphics card."""
    if options.dtype is not None and options.dtype not in ITEMSIZE:
        raise UsageError(f"dtype {options.dtype!r} is unknown: use {', '.join(ITEMSIZE)}")
    itemsize = ITEMSIZE[options.dtype] if options.dtype else None
    if engine in ("torch", "llama") and _on_card(engine, options):
        return None
    if engine == "llama":
        mapped = options.low_memory or (is_apple_silicon() and options.device != "cpu" and options.gpu_layers != 0)
        base = LOW_BASE if options.low_memory else BASE
        return round(stored.bytes * (1 if mapped else LLAMA_REPACKED)) + base
    if itemsize is None and engine in ("torch", "mlx") and (options.device == "cpu" or not is_apple_silicon()):
        itemsize = ITEMSIZE["float32"]  # fastest on CPUs, so these engines choose it
    return stored.in_memory(itemsize) + BASE


def least(stored: Size, engine: str, options: LoadOptions) -> int | None:
    """The same if the engine switches to low memory by itself."""
    return needed(stored, engine, replace(options, low_memory=True) if engine == "llama" else options)


def available() -> int:
    """Bytes available now: the lower of the system's estimate and what a container's limit leaves."""
    import psutil

    free = int(psutil.virtual_memory().available)
    return min([free, *(_left(folder) for folder in _cgroups())])


def _on_card(engine: str, options: LoadOptions) -> bool:
    """Whether weights go to a card with its own memory; an Apple GPU shares the host's."""
    if options.device not in (None, "auto"):
        return options.device not in {"cpu", "mps"}
    return has_gpu_driver() and not (engine == "llama" and options.gpu_layers == 0)


def _smaller(engine: str, options: LoadOptions) -> str:
    if engine == "torch" and options.dtype in (None, "float32"):
        return ", a quantised GGUF with `engine` llama, or `dtype` bfloat16"
    if engine == "llama":
        return " or a file of fewer bits, let `low_memory` read weights from the disk as it goes, which is slow"
    return " or a quantised GGUF with `engine` llama"


def _cgroups(process: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """Folders of this process's memory cgroups and their ancestors, any of which may have the limit."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif "memory" in controllers.split(","):
            base = root / "memory"
        else:
            continue
        inside = base / path.lstrip("/")  # may not exist inside a container, whose limit is then at the base
        folders += [folder for folder in (inside, *inside.parents) if folder.is_relative_to(base) and folder.is_dir()]
    return folders


def _left(folder: Path) -> int:
    """Bytes left below a cgroup's limit, counting evictable page cache as free; a huge number without a limit."""
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
    if limit is None or used is None:
        return 1 << 62
    return max(0, limit - max(0, used - _page_cache(folder / "memory.stat")))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())  # `max` stands for no limit
    except (OSError, ValueError):
        return None


def _page_cache(file: Path) -> int:
    try:
        pairs = dict(line.split() for line in file.read_text().splitlines())
        return int(pairs.get("total_inactive_file", pairs.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
