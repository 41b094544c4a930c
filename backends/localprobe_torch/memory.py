"""Free memory of a device, and torch's out-of-memory errors as OutOfMemory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import clear_frames

import torch

from localprobe.errors import OutOfMemory, first_line
from localprobe.models import fits

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


@contextmanager
def out_of_memory(what: str) -> Iterator[None]:
    """Turn torch's various out-of-memory errors into OutOfMemory, and release the memory.

    `what` starts the message: what did not fit, and what to do.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        clear_frames(error.__traceback__)  # their tensors fill the memory
        release()
        raise OutOfMemory(f"{what} ({first_line(error)})") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch is an out-of-memory error: CUDA has a class for it, MPS and the CPU only a message."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def free_bytes(device: torch.device) -> int:
    """Bytes available on a device without swapping."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return fits.available()  # a Mac's GPU shares host memory


def check_room(needed: int, device: torch.device, what: str) -> None:
    """Raise OutOfMemory if a device lacks `needed` free bytes: a CPU would overcommit."""
    free = free_bytes(device)
    if needed > free:
        raise OutOfMemory(f"{what} (needs {gigabytes(needed)}, {gigabytes(free)} are free on {device})")


def gigabytes(count: float) -> str:
    """A number of bytes as `1.5 GB`."""
    return f"{count / 1e9:.1f} GB"


def release() -> None:
    """Return the cached memory of freed tensors to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
