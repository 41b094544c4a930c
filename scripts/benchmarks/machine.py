"""What a run was measured on: the machine, the instructions that the engines use on it, and the versions."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from localprobe import machine

_LIBRARIES = (
    *("localprobe", "numpy", "torch", "transformers", "mlx", "mlx-lm", "llama-cpp-python", "textual"),
    *("steering-vectors", "repeng"),
)
_WIDE = ("AVX512", "AVX2", "AVX", "NEON")
_BLAS = (
    "/usr/lib/*/openblas-pthread/libopenblas.so.0",  # Debian
    "/usr/lib64/libopenblasp.so.0",  # Fedora
    "/usr/lib/libopenblas.so.0",  # Arch
)


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    return machine.processor() or "an unnamed processor"


def describe() -> str:
    """Processor, cores, memory, system, and the widest instructions of each engine that computes on the processor."""
    import psutil

    parts = [
        processor(),
        f"{os.cpu_count()} cores",
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory",
        f"{platform.system()} {platform.machine()}",
        *_instructions(),
    ]
    return ", ".join(parts)


def versions() -> str:
    """Python's version and those of the libraries that are installed."""
    installed = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    return f"Python {platform.python_version()}, {', '.join(installed)}"


def openblas() -> Path | None:
    """OpenBLAS, to be loaded before the reference BLAS that MLX's wheel for Linux links, which is 20 times slower."""
    paths = (path for pattern in _BLAS for path in sorted(Path("/").glob(pattern.removeprefix("/"))))
    return next(paths, None)


def _instructions() -> list[str]:
    parts = []
    if find_spec("llama_cpp"):
        import llama_cpp

        on = re.findall(r"(\w+) = 1\b", llama_cpp.llama_print_system_info().decode())
        widest = next((name for name in _WIDE if name in on), "no vector instructions")
        parts.append(f"llama.cpp with {widest}")
    if find_spec("torch"):
        import torch

        parts.append(f"torch with {torch.backends.cpu.get_cpu_capability()}")
    return parts


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
