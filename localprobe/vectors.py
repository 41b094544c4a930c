"""Directions of a concept, a layer each, and their file.

The native file is safetensors: a float32 tensor `direction.<layer>` of shape (width,) for every layer, and one JSON
text of metadata (`localprobe.vector_metadata`). Layers are ours: `direction.b` is added to the residual after block b.
They travel as control vectors in GGUF and as npz arrays too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localprobe import __version__
from localprobe.engine import FloatArray, Info
from localprobe.errors import UsageError, VectorError

FORMATS = (".safetensors", ".gguf", ".npz")
"""Suffixes of the formats that `export` writes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a vector comes from: enough to know whether it fits a model, and to make it again."""

    model: str
    """The base model's name."""
    weights: str = ""
    """Hash of the weights it was fitted on; empty if the file does not say."""
    architecture: str = ""
    width: int = 0
    layers: int = 0
    engine: str = ""
    method: str = ""
    """`mean-difference`, ...; `arithmetic` for what was made of other vectors."""
    pooling: str = ""
    bos: bool | None = None
    """Whether texts began with a BOS token when captured: it moves a pooled residual."""
    template: str = ""
    """Hash of the chat template."""
    version: str = __version__
    """Version of localprobe that made it; empty for a file of another program that was not imported."""
    trained_on: tuple[str, ...] = ()
    """Hashes of the pairs that it was fitted on, so that it is never measured on them."""

    @classmethod
    def of(cls, info: Info, *, method: str, pooling: str, trained_on: tuple[str, ...] = ()) -> Origin:
        """The origin of a vector that is fitted now, on this model."""
        import hashlib

        template = hashlib.sha256(info.chat_template.encode()).hexdigest()[:16] if info.chat_template else ""
        return cls(
            info.model,
            info.weights,
            info.architecture,
            info.width,
            info.layers,
            info.engine,
            method,
            pooling,
            info.bos is not None,
            template,
            trained_on=trained_on,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """A direction at one layer."""

    vector: FloatArray
    """(width,) float32. Of length 1 where it was fitted; a control vector or a result of arithmetic has another."""
    norm: float = 1.0
    """The length that it had before it was brought to length 1, or scaled. Of a fit: how far apart the poles lie."""
    threshold: float = 0.0
    """Midpoint of the two poles' mean scores on the training texts, along the direction at length 1: a score above it
    reads as positive. 0 where it is not known: in control vectors, and after arithmetic."""
    scale: float = 0.0
    """Median length of a residual at this layer; 0 if unknown. A dose is alpha * |vector| / scale."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What was measured when it was fitted, e.g. `auroc`."""

    @property
    def length(self) -> float:
        """|v|."""
        return float(np.linalg.norm(self.vector))


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A concept as a direction at one or more layers of a model."""

    concept: str
    origin: Origin
    directions: Mapping[int, Direction]
    best: int | None = None
    """The layer to use where the user names none; None means all of them together, as control vectors are used."""

    def layer(self, layer: int | None = None) -> int:
        """The layer asked for, or the best one. UsageError if the vector has no such layer, or none is best."""
        chosen = self.best if layer is None else layer
        if chosen is None:
            raise UsageError(f"{self.concept} has directions at layers {self.span}: say which one with --layer")
        if chosen not in self.directions:
            raise UsageError(f"{self.concept} has no direction at layer {chosen}: it has layers {self.span}")
        return chosen

    @property
    def span(self) -> str:
        """Its layers, for people: `0 to 29`, or `3, 8`."""
        layers = sorted(self.directions)
        whole = layers == list(range(layers[0], layers[-1] + 1)) and len(layers) > 2
        return f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))

    def fit_to(self, info: Info) -> tuple[str, ...]:
        """Check that the vector can steer or score a model; returns warnings for the user.

        Another width or a layer that the model does not have is a VectorError. Another base model of the same width
        is a warning that names both; other weights of the same base model (Hugging Face, MLX 4-bit, GGUF) are the
        normal case.
        """
        for layer, direction in self.directions.items():
            if len(direction.vector) != info.width:
                raise VectorError(
                    f"vector {self.concept!r} has width {len(direction.vector)}, but {info.model} has {info.width}: "
                    f"it was made for {self.origin.model or 'another model'}"
                )
            if not 0 <= layer < info.layers:
                raise VectorError(
                    f"vector {self.concept!r} has a direction at layer {layer}, "
                    f"but {info.model} has layers 0 to {info.layers - 1}"
                )
        same = self.origin.weights == info.weights or self.origin.model == info.model or not self.origin.model
        if same:
            return ()
        return (f"vector {self.concept!r} was made for {self.origin.model}, not for {info.model}: expect little of it",)


def save(vector: Vector, path: Path) -> None:
    """Write a vector as safetensors, whole or not at all. LocalprobeError if the disk refuses."""
    from safetensors.numpy import save as encode

    from localprobe import vector_metadata
    from localprobe.files import write_whole

    metadata = {vector_metadata.KEY: vector_metadata.text_of(vector)}
    write_whole(path, encode(vector_metadata.tensors_of(vector), metadata=metadata))


def export(vector: Vector, path: Path) -> None:
    """Write a vector in the format that the path's suffix names, one of FORMATS, whole or not at all.

    Reading it again with `load` gives an equal vector. UsageError for another suffix, VectorError for a direction that
    the format cannot hold (GGUF: block 0), LocalprobeError if the disk refuses.
    """
    from localprobe import control_vectors, npz_vectors

    writers = dict(zip(FORMATS, (save, control_vectors.save_gguf, npz_vectors.save_npz), strict=True))
    writers[suffix(path)](vector, path)


def suffix(path: Path) -> str:
    """The one of FORMATS that a path ends with; UsageError if it ends with none."""
    found = path.suffix.lower()
    if found not in FORMATS:
        raise UsageError(f"{path} does not say in what format to write it: end its name with {', '.join(FORMATS)}")
    return found


def load(path: Path) -> Vector:
    """Read a vector: our safetensors or npz, or a control vector in GGUF, whatever the file is called.

    A control vector is read as llama.cpp applies it: tensor `direction.b` at layer b. VectorError says what is wrong
    with the file.
    """
    if not path.is_file():
        raise VectorError(f"no vector file at {path}: `localprobe demo` makes one, `localprobe fit` any other")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise VectorError(f"cannot read {path}: {error.strerror}") from error
    if magic == b"GGUF":
        from localprobe.control_vectors import load_gguf

        return load_gguf(path)
    if magic == b"PK\x03\x04":
        from localprobe.npz_vectors import load_npz

        return load_npz(path)
    return _load_native(path)


def _load_native(path: Path) -> Vector:
    from safetensors import SafetensorError, safe_open

    from localprobe import vector_metadata

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(vector_metadata.KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise VectorError(f"{path} is not a readable vector file (torn, or another format): {error}") from error
    if text is None:
        raise VectorError(
            f"{path} is a safetensors file, but not a vector of localprobe: its metadata lacks {vector_metadata.KEY!r}"
        )
    return vector_metadata.read(path, text, tensors)


def checked(vector: NDArray[Any], layer: int) -> FloatArray:
    """The vector as float32 (width,); VectorError if it is not of real numbers, finite, one-dimensional, or is zero."""
    if vector.ndim != 1 or not len(vector):
        raise VectorError(f"the direction at layer {layer} has shape {vector.shape}, not (width,)")
    if vector.dtype.kind not in "fiu":
        raise VectorError(f"the direction at layer {layer} holds {vector.dtype}, not real numbers")
    with np.errstate(over="ignore"):  # a float64 too large for float32 is infinity, and refused below
        vector = np.asarray(vector, dtype=np.float32)
    if not np.isfinite(vector).all():
        raise VectorError(f"the direction at layer {layer} holds NaN or infinity")
    if not vector.any():
        raise VectorError(f"the direction at layer {layer} is zero")
    return vector
