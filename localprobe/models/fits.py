"""Does a model fit into this machine's memory: an estimate before loading, so that the answer is a line, not a crash.

Only the host's memory is judged. What goes to a graphics card is the engine's to know and to refuse.
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
"""Set to 1, this environment variable turns the check off."""

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
BASE = 400_000_000
"""Bytes for the engine's own libraries, the KV cache and activations of ordinary use."""
LOW_BASE = 250_000_000
"""The same in llama.cpp's low-memory mode, whose passes and caches are smaller."""
LLAMA_REPACKED = 1.1
"""On a CPU, llama.cpp copies most weights into a layout that its kernels prefer, and the file is read beside the copy.

Measured, Q4_0: the copy takes 0.94 of the file. Twice the file is resident at the end of a load, but the half of it
that is the file itself is clean, and goes as soon as something else wants the memory.
"""


def check(weights: Weights, engine: str, options: LoadOptions) -> None:
    """Raise OutOfMemory, with both numbers, if loading these weights would take more than is free.

    llama.cpp goes to low memory by itself where that fits and its usual way does not. Asked for low memory, it loads a
    file of any size: what does not fit is read from the disk again and again.
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
    """Bytes of host memory that an engine takes to load and run weights; None if they go to a graphics card."""
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
        itemsize = ITEMSIZE["float32"]  # what CPUs are fast in, so these engines choose it
    return stored.in_memory(itemsize) + BASE


def least(stored: Size, engine: str, options: LoadOptions) -> int | None:
    """The same, once the engine has done what it does by itself to fit."""
    return needed(stored, engine, replace(options, low_memory=True) if engine == "llama" else options)


def available() -> int:
    """Bytes that can be had now: the system's estimate, or what a container's limit leaves, whichever is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    return min([free, *(_left(folder) for folder in _cgroups())])


def _on_card(engine: str, options: LoadOptions) -> bool:
    """Whether weights go to a card with memory of its own; an Apple GPU shares the host's."""
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
    """Folders of the memory cgroups that this process is in, its ancestors too: any of them may hold the limit."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif "memory" in controllers.split(","):
            base = root / "memory"
        else:
            continue
        inside = base / path.lstrip("/")  # inside a container this may not exist; its limit is then at the base
        found += [folder for folder in (inside, *inside.parents) if folder.is_relative_to(base) and folder.is_dir()]
    return found


def _left(folder: Path) -> int:
    """Bytes below a cgroup's limit, page cache that would be given up counted as free; very many without a limit."""
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
