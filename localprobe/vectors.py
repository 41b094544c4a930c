"""Directions of a concept, a layer each, and their file.

The native file is safetensors: a float32 tensor `direction.<layer>` of shape (width,) for every layer, and one JSON
text of metadata. Layers are ours: `direction.b` is added to the residual after block b.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from localprobe import __version__
from localprobe.engine import FloatArray, Info
from localprobe.errors import LocalprobeError, UsageError, VectorError

FORMAT = 1
_KEY = "localprobe"


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
    """`mean difference`, ..."""
    pooling: str = ""
    bos: bool | None = None
    """Whether texts began with a BOS token when captured: it moves a pooled residual."""
    template: str = ""
    """Hash of the chat template."""
    version: str = __version__
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
    """(width,) float32. Ours have length 1; a control vector of another program has the length that it was given."""
    norm: float = 1.0
    """Length of the difference before it was normalised: how far apart the two poles lie."""
    threshold: float = 0.0
    """Midpoint of the two poles' mean scores on the training texts: a score above it reads as positive."""
    scale: float = 0.0
    """Median length of a residual at this layer; 0 if unknown. A dose is alpha * |vector| / scale."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What was measured when it was fitted, e.g. `auroc`."""


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
            raise UsageError(f"{self.concept} has directions at layers {self._span()}: say which one with --layer")
        if chosen not in self.directions:
            raise UsageError(f"{self.concept} has no direction at layer {chosen}: it has layers {self._span()}")
        return chosen

    def _span(self) -> str:
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

    from localprobe.files import write_whole

    tensors = {f"direction.{b}": np.ascontiguousarray(d.vector, dtype=np.float32) for b, d in vector.directions.items()}
    about = {
        "format": FORMAT,
        "concept": vector.concept,
        "best": vector.best,
        "origin": asdict(vector.origin),
        "directions": {
            str(b): {"norm": d.norm, "threshold": d.threshold, "scale": d.scale, "measures": dict(d.measures)}
            for b, d in vector.directions.items()
        },
    }
    write_whole(path, encode(tensors, metadata={_KEY: json.dumps(about)}))


def load(path: Path) -> Vector:
    """Read a vector: our safetensors, or a control vector in GGUF. VectorError says what is wrong with the file."""
    if not path.is_file():
        raise VectorError(f"no vector file at {path}: `localprobe demo` makes one, `localprobe fit` any other")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"GGUF":
        from localprobe.control_vectors import load_gguf

        return load_gguf(path)
    return _load_native(path)


def _load_native(path: Path) -> Vector:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise VectorError(f"{path} is not a readable vector file (torn, or another format): {error}") from error
    if not isinstance(about, dict):
        raise VectorError(f"{path} is a safetensors file, but not a vector of localprobe: its metadata lacks {_KEY!r}")
    if about.get("format", 0) > FORMAT:
        raise VectorError(f"{path} was written by a newer localprobe (format {about['format']}): upgrade localprobe")
    try:
        return _from_parts(about, tensors)
    except LocalprobeError as error:
        raise VectorError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise VectorError(f"{path} has broken metadata: {error!r}") from error


def _from_parts(about: dict[str, Any], tensors: dict[str, FloatArray]) -> Vector:
    directions = {}
    for text, details in about["directions"].items():
        directions[int(text)] = Direction(checked(tensors[f"direction.{text}"], int(text)), **details)
    if not directions:
        raise VectorError("it holds no direction")
    return Vector(
        about["concept"],
        Origin(**{**about["origin"], "trained_on": tuple(about["origin"].get("trained_on", ()))}),
        directions,
        about["best"],
    )


def checked(vector: FloatArray, layer: int) -> FloatArray:
    """The vector as float32 (width,); VectorError if it is not finite, not one-dimensional, or zero."""
    if vector.ndim != 1 or not len(vector):
        raise VectorError(f"the direction at layer {layer} has shape {vector.shape}, not (width,)")
    vector = np.asarray(vector, dtype=np.float32)
    if not np.isfinite(vector).all():
        raise VectorError(f"the direction at layer {layer} holds NaN or infinity")
    if not vector.any():
        raise VectorError(f"the direction at layer {layer} is zero")
    return vector
