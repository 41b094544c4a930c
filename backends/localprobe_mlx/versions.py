"""The versions of MLX and its device."""

from __future__ import annotations

from importlib import metadata
from typing import Any


def version() -> str:
    """The versions of the libraries, without importing mlx-lm, which takes seconds."""
    return f"mlx {metadata.version('mlx')}, mlx-lm {metadata.version('mlx-lm')}"


def device_name(core: Any, device: Any) -> str:
    """`Metal (Apple M3 Pro)`, `cpu`, ..."""
    if device.type == core.cpu:
        return "cpu"
    return f"{'Metal' if core.metal.is_available() else 'gpu'} ({core.device_info().get('device_name', 'unnamed')})"
