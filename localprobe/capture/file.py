"""A file of captured residuals, written text by text in constant memory.

Safetensors. `residuals` is float32 (texts, layers, width), or (tokens, layers, width) with `offsets` int64 (texts + 1,)
when nothing was pooled: text i holds rows offsets[i] to offsets[i + 1]. `tokens` int64 (texts,) counts each text's
tokens. The metadata entry `localprobe` is JSON: model, layers, pooling, and the number of texts cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localprobe.capture.residuals import Captured
from localprobe.store.files import replacing
from localprobe.vectors.vector import Origin


class CaptureFile:
    """A capture file being written."""

    def __init__(self, path: Path, origin: Origin, layers: list[int], tokens: NDArray[np.int64], cut: int) -> None:
        self._pooled = origin.pooling != "tokens"
        rows = len(tokens) if self._pooled else int(tokens.sum())
        self._offsets = np.concatenate([[0], np.arange(1, len(tokens) + 1) if self._pooled else np.cumsum(tokens)])
        self._row = len(layers) * origin.width * 4  # bytes
        about = {"format": 1, "layers": layers, "cut": cut, "origin": asdict(origin)}
        arrays = {"tokens": tokens} if self._pooled else {"tokens": tokens, "offsets": self._offsets.astype(np.int64)}
        shape = (rows, len(layers), origin.width)
        self._file = path.open("wb")
        self._start = self._write_header(about, arrays, shape)

    def add(self, captured: Captured) -> None:
        """Write one text's residuals at its place; texts may come in any order."""
        self._file.seek(self._start + int(self._offsets[captured.index]) * self._row)
        residuals = captured.residuals if self._pooled else captured.residuals.swapaxes(0, 1)  # (n, layers, width)
        self._file.write(np.ascontiguousarray(residuals, dtype="<f4").tobytes())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write_header(self, about: Any, arrays: dict[str, NDArray[np.int64]], shape: tuple[int, ...]) -> int:
        """Write the safetensors header and the small arrays; returns where the residuals begin."""
        header: dict[str, Any] = {"__metadata__": {"localprobe": json.dumps(about)}}
        end = 0
        for name, array in arrays.items():
            header[name] = {"dtype": "I64", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
            end += array.nbytes
        size = int(np.prod(shape)) * 4
        header["residuals"] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            self._file.write(array.astype("<i8").tobytes())
        start = self._file.tell()
        self._file.truncate(start + size)
        return start


@contextmanager
def writing(
    path: Path, origin: Origin, layers: list[int], tokens: NDArray[np.int64], cut: int = 0
) -> Iterator[CaptureFile]:
    """Write a capture atomically: `path` exists only if the block ends without an error."""
    with replacing(path) as temporary:
        file = CaptureFile(temporary, origin, layers, tokens, cut)
        try:
            yield file
        finally:
            file.close()
