"""The C library: the few ggml functions that llama-cpp-python does not bind, and llama.cpp's captured log."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # else a native abort starts a debugger and prints pages of output

import llama_cpp
from llama_cpp._ctypes_extensions import load_shared_library

_ERROR, _CONTINUED = 4, 5  # ggml_log_level

_folder = Path(llama_cpp.llama_cpp._base_path)
_base = load_shared_library("ggml-base", _folder)
_registry = load_shared_library("ggml", _folder)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_pointer, _size = ctypes.c_void_p, ctypes.c_size_t

tensor_name = _bind(_base, "ggml_get_name", ctypes.c_char_p, _pointer)
tensor_bytes = _bind(_base, "ggml_nbytes", _size, _pointer)
tensor_elements = _bind(_base, "ggml_nelements", ctypes.c_int64, _pointer)
tensor_contiguous = _bind(_base, "ggml_is_contiguous", ctypes.c_bool, _pointer)
tensor_get = _bind(_base, "ggml_backend_tensor_get", None, _pointer, _pointer, _size, _size)
"""(tensor, destination, offset, bytes): copy from a tensor on any device."""
tensor_set = _bind(_base, "ggml_backend_tensor_set", None, _pointer, _pointer, _size, _size)
"""(tensor, source, offset, bytes): copy into a tensor."""

tensor_data = _bind(_base, "ggml_get_data", _pointer, _pointer)
"""Where a tensor's values are, on its device."""

device_count = _bind(_registry, "ggml_backend_dev_count", _size)
device_at = _bind(_registry, "ggml_backend_dev_get", _pointer, _size)
device_kind = _bind(_base, "ggml_backend_dev_type", ctypes.c_int, _pointer)
"""0 is the CPU, 1 a GPU, 2 a GPU in the processor, 3 an accelerator of the CPU."""
device_name = _bind(_base, "ggml_backend_dev_description", ctypes.c_char_p, _pointer)
_device_buffers = _bind(_base, "ggml_backend_dev_buffer_type", _pointer, _pointer)
_on_host = _bind(_base, "ggml_backend_buft_is_host", ctypes.c_bool, _pointer)

_errors: deque[str] = deque(maxlen=50)
_levels = [0]


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _keep(level: int, text: bytes | None, _user: int | None) -> None:
    """Keep lines of errors; a line may arrive in pieces."""
    piece = (text or b"").decode("utf-8", "replace")
    if level == _CONTINUED and _levels[0] == _ERROR and _errors:
        _errors[-1] += piece
    elif level == _ERROR:
        _errors.append(piece)
    if level != _CONTINUED:
        _levels[0] = level


llama_cpp.llama_log_set(_keep, None)
llama_cpp.llama_backend_init()


def forget_errors() -> None:
    """Forget llama.cpp's errors so far."""
    _errors.clear()


def errors() -> list[str]:
    """llama.cpp's errors since `forget_errors`, one per line, without function names."""
    lines = (" ".join(line.split()) for line in _errors)
    return [line.partition(": ")[2] if line.partition(": ")[0].isidentifier() else line for line in lines if line]


@cache
def on_host() -> bool:
    """Whether all devices of this build compute in the memory of this process."""
    return all(_on_host(_device_buffers(device_at(number))) for number in range(device_count()))


def version() -> str:
    """`llama-cpp-python 0.3.36`."""
    return f"llama-cpp-python {metadata.version('llama-cpp-python')}"
