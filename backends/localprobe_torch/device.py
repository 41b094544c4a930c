"""Choosing the device and the floating-point type."""

from __future__ import annotations

import torch

from localprobe.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def best_device() -> torch.device:
    """CUDA, then MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe(device: torch.device) -> str:
    """Name of a device for users, e.g. `cuda:0 (NVIDIA H100)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def choose_device(requested: str | None) -> torch.device:
    """The requested device; None or `auto` gives the best one.

    Raises UsageError if it is not a device, or not available to this build of torch on this machine.
    """
    if requested is None or requested == "auto":
        return best_device()
    try:
        device = torch.device(requested)
    except RuntimeError:
        raise UsageError(f"unknown device {requested!r}: use cpu, cuda, cuda:1, mps or auto") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = device.index or 0
        if index >= cards:
            raise UsageError(f"device {requested!r} is not here: torch {torch.__version__} sees {cards} CUDA cards")
        return torch.device("cuda", index)
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError(f"device {requested!r} is not here: torch {torch.__version__} sees no Apple GPU")
        return torch.device("mps")
    raise UsageError(f"device {requested!r} is not supported: use cpu, cuda, cuda:1, mps or auto")


def choose_dtype(requested: str | None, own: object, device: torch.device, architecture: str) -> torch.dtype:
    """The type to compute in: the requested one, else float32 on the CPU and the checkpoint's own type on a GPU.

    Gemma never gets float16, whose maximum is 65504, as its residuals reach 1e5. Raises UsageError if requested.
    """
    gemma = architecture.startswith("gemma")
    if requested is not None:
        if requested not in DTYPES:
            raise UsageError(f"unknown dtype {requested!r}: use {', '.join(DTYPES)}")
        if gemma and requested == "float16":
            raise UsageError("dtype float16 overflows on Gemma, whose residuals reach 1e5: use bfloat16 or float32")
        return DTYPES[requested]
    if device.type == "cpu":
        return torch.float32
    if not isinstance(own, torch.dtype) or own not in DTYPES.values() or (gemma and own == torch.float16):
        return torch.bfloat16
    return own


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.float32` as `float32`."""
    return str(dtype).removeprefix("torch.")
