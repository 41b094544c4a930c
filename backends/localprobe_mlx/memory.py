"""Memory limits for models, batches and caches, and MLX's allocation errors as OutOfMemory.

MLX on the CPU ends the process when an allocation fails, so what cannot fit raises before it is allocated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx

from localprobe.errors import OutOfMemory, first_line
from localprobe.models.fits import available

_COMPLAINT = re.compile(r"malloc|allocat|insufficient memory|out of memory", re.IGNORECASE)


class Memory:
    """The memory that a device computes in."""

    def __init__(self, device: Any) -> None:
        self.gpu: bool = device.type == mx.gpu

    @property
    def total(self) -> int:
        """Bytes in all."""
        if self.gpu:
            info = mx.device_info()
            return int(info.get("max_recommended_working_set_size") or info.get("memory_size") or 0) or _installed()
        return _installed()

    @property
    def free(self) -> int:
        """Bytes available now."""
        if self.gpu:
            return max(self.total - mx.get_active_memory(), 0)
        return available() + mx.get_cache_memory()

    def check_total(self, nbytes: int, what: str, advice: str) -> None:
        """Raises OutOfMemory if `nbytes` exceed the total memory."""
        if nbytes > self.total:
            raise OutOfMemory(f"{what} takes {_size(nbytes)}, but there are {_size(self.total)} in all: {advice}")

    def check(self, nbytes: int, what: str, advice: str) -> None:
        """Raises OutOfMemory if `nbytes` are not free."""
        if nbytes > self.free:
            raise OutOfMemory(f"{what} needs about {_size(nbytes)}, but {_size(self.free)} are free: {advice}")


@contextmanager
def memory_errors(what: str, advice: str) -> Iterator[None]:
    """Turns MLX's allocation errors into OutOfMemory."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as problem:
        if not isinstance(problem, MemoryError) and not _COMPLAINT.search(str(problem)):
            raise
        mx.clear_cache()
        raise OutOfMemory(f"{what} does not fit into memory ({first_line(problem)}): {advice}") from None


def _installed() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB"
