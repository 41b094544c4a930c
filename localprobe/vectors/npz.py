"""Vectors as npz, for numpy without localprobe: one array `direction.<layer>` per layer, and metadata. No pickle."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.errors import VectorError
from localprobe.vectors import metadata
from localprobe.vectors.vector import Vector


def save_npz(vector: Vector, path: Path) -> None:
    """Write float32 arrays `direction.<layer>` (width,) and the metadata as an array of one string, atomically.

    LocalprobeError if writing fails.
    """
    from localprobe.store.files import write_whole

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        **metadata.tensors_of(vector),
        metadata.KEY: np.array(metadata.text_of(vector)),
    }
    np.savez(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def load_npz(path: Path) -> Vector:
    """Read what `save_npz` wrote. VectorError for a damaged file, pickled objects, or another program's file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, KeyError, MemoryError) as error:
        raise VectorError(
            f"{path} is not a readable npz file (torn, or with pickled objects in it): {error}"
        ) from error
    text = arrays.pop(metadata.KEY, None)
    if text is None or text.dtype.kind != "U" or text.ndim:
        raise VectorError(f"{path} is an npz file, but not a vector of localprobe: it lacks {metadata.KEY!r}")
    return metadata.read(path, str(text), arrays)
