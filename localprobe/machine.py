"""What this machine is, as far as the choice of an engine depends on it."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path


def is_apple_silicon() -> bool:
    """Whether this is a Mac with an Apple chip, where MLX runs on the GPU."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def has_gpu_driver() -> bool:
    """Whether an NVIDIA or AMD driver is here: without one, torch need not be imported to learn that CUDA is absent."""
    files = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    return shutil.which("nvidia-smi") is not None or any(Path(file).exists() for file in files)
