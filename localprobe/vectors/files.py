"""Vector files: our safetensors, control vectors in GGUF, npz arrays.

The native file is safetensors: a float32 tensor `direction.<layer>` of shape (width,) for every layer, and its
metadata as JSON (`localprobe.vectors.metadata`).
"""

from __future__ import annotations

from pathlib import Path

from localprobe.errors import UsageError, VectorError
from localprobe.store.names import is_file
from localprobe.vectors.vector import Vector

FORMATS = (".safetensors", ".gguf", ".npz")
"""Suffixes of the formats that `export` writes."""


def save(vector: Vector, path: Path) -> None:
    """Write a vector as safetensors, atomically. LocalprobeError if writing fails."""
    from localprobe.store.files import write_whole

    write_whole(path, encoded(vector))


def encoded(vector: Vector) -> bytes:
    """A vector as the bytes of its safetensors file."""
    from safetensors.numpy import save as encode

    from localprobe.vectors import metadata

    return encode(metadata.tensors_of(vector), metadata={metadata.KEY: metadata.text_of(vector)})


def export(vector: Vector, path: Path) -> None:
    """Write a vector, atomically, in the format of the path's suffix, one of FORMATS.

    `load` reads an equal vector back. UsageError for another suffix, VectorError for a direction that the format cannot
    hold (GGUF: block 0), LocalprobeError if writing fails.
    """
    from localprobe.vectors import control_vector, npz

    writers = dict(zip(FORMATS, (save, control_vector.save_gguf, npz.save_npz), strict=True))
    writers[suffix(path)](vector, path)


def suffix(path: Path) -> str:
    """The one of FORMATS that a path ends with; UsageError if it ends with none."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise UsageError(f"{path} does not say in what format to write it: end its name with {', '.join(FORMATS)}")
    return ending


def load(path: Path) -> Vector:
    """Read a vector: our safetensors or npz, or a control vector in GGUF, by the content of the file.

    A control vector is read as llama.cpp applies it: tensor `direction.b` at layer b. VectorError says what is wrong
    with the file.
    """
    if not is_file(path):
        raise VectorError(f"no vector file at {path}: `localprobe demo` makes one, `localprobe fit` any other")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise VectorError(f"cannot read {path}: {error.strerror}") from error
    if magic == b"GGUF":
        from localprobe.vectors.control_vector import load_gguf

        return load_gguf(path)
    if magic == b"PK\x03\x04":
        from localprobe.vectors.npz import load_npz

        return load_npz(path)
    return _load_native(path)


def _load_native(path: Path) -> Vector:
    from safetensors import SafetensorError, safe_open

    from localprobe.suggest import one_line
    from localprobe.vectors import metadata

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(metadata.KEY)
            if text is None:
                raise VectorError(
                    f"{path} is a safetensors file, but not a vector of localprobe: its metadata lacks {metadata.KEY!r}"
                )
            names = [name for name in file.keys() if metadata.is_tensor(name)]  # noqa: SIM118 (it is not a dict)
            metadata.check_shapes(path, text, {name: file.get_slice(name).get_shape() for name in names})
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise VectorError(
            f"{path} is not a readable vector file (torn, or another format): {one_line(str(error))}"
        ) from error
    return metadata.read(path, text, tensors)
