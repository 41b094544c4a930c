"""Facts about this machine that choices and measurements depend on."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def is_apple_silicon() -> bool:
    """Whether this is a Mac with an Apple chip, where MLX runs on the GPU."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def has_gpu_driver() -> bool:
    """Whether an NVIDIA or AMD driver is present. Without one there is no CUDA, and no need to import torch."""
    files = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    return shutil.which("nvidia-smi") is not None or any(Path(file).exists() for file in files)


def processor() -> str:
    """The processor's name as the system reports it, e.g. `AMD EPYC 9354`; empty if unknown."""
    if sys.platform == "darwin":
        import subprocess

        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
