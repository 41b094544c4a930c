"""The devices of llama.cpp: the CPU, or the GPUs that its build supports."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import llama_cpp
import psutil

from localprobe.engine import Availability, LoadOptions
from localprobe.errors import UsageError
from localprobe.machine import has_gpu_driver, is_apple_silicon
from localprobe_llama import library

_GPUS = (1, 2)


def availability() -> Availability:
    """Whether llama.cpp can be used, and on which device."""
    devices = gpus()
    return Availability(
        installed=True,
        version=library.version(),
        device=", ".join(devices) or "cpu",
        gpu=bool(devices),
        notes=() if devices else no_gpu_notes(),
    )


def gpus() -> list[str]:
    """Descriptions of the GPUs that this build can use."""
    if not llama_cpp.llama_supports_gpu_offload():
        return []
    devices = [library.device_at(number) for number in range(library.device_count())]
    return [library.device_name(device).decode() for device in devices if library.device_kind(device) in _GPUS]


def no_gpu_notes() -> tuple[str, ...]:
    """A note if this machine has a GPU that this build cannot use."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    if llama_cpp.llama_supports_gpu_offload() or not (apple or has_gpu_driver()):
        return ()
    flag = "GGML_METAL" if apple else "GGML_HIP" if Path("/dev/kfd").exists() else "GGML_CUDA"
    command = f"CMAKE_ARGS=-D{flag}=on pip install --force-reinstall --no-cache-dir llama-cpp-python"
    return (f"this build of llama.cpp has no GPU support, so the model runs on the CPU; to use the GPU: {command}",)


def placement(options: LoadOptions) -> tuple[int, int | None]:
    """Number of blocks on the GPU (-1 for all), and the index of the GPU (None spreads over all).

    Raises UsageError for a device or a number of layers that this build does not support.
    """
    device, layers = options.device, options.gpu_layers
    if layers is not None and layers < 0:
        raise UsageError(f"{layers} GPU layers: give 0 or more, or nothing for all")
    if device == "cpu":
        if layers:
            raise UsageError(f"{layers} GPU layers on device 'cpu': leave one of the two out")
        return 0, None
    if device is None or device == "auto":
        return (-1 if layers is None else layers), None
    kind, _, number = device.partition(":")
    gpu = "mps" if sys.platform == "darwin" else "cuda"
    if kind != gpu or (number and not number.isdecimal()):
        raise UsageError(f"llama.cpp knows no device {device!r} here: use 'cpu', {gpu!r} or nothing")
    devices = gpus()
    if int(number or 0) >= len(devices):
        raise UsageError(
            f"this build of llama.cpp has {len(devices) or 'no'} GPU{'s' if len(devices) > 1 else ''} to run on, "
            f"so device {device!r} cannot be used: leave it out, or reinstall llama-cpp-python with GPU support"
        )
    return (-1 if layers is None else layers), int(number or 0)


def describe(options: LoadOptions) -> str:
    """The GPUs that a load with these options uses, and how many layers are on them if not all.

    The CPU rounds activations where a GPU does not, so measurements with another number of layers are not the same.
    """
    devices, (blocks, one) = gpus(), placement(options)
    names = ", ".join(devices) if one is None else devices[one]
    return names if blocks < 0 else f"{names}, {blocks} layers"


def threads() -> int:
    """Physical cores that this process may use: a second thread per core slows matrix products down. On Apple chips,
    performance cores only, as all threads wait for the slowest."""
    cores = _fast_cores() or psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    allowed = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else cores
    return max(1, min(cores, allowed))


def _fast_cores() -> int:
    """Performance cores of Apple silicon; 0 elsewhere, or if unknown."""
    if not is_apple_silicon():
        return 0
    command = ["sysctl", "-n", "hw.perflevel0.physicalcpu"]
    try:
        return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0
