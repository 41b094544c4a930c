"""Directions of a concept, one per layer.

Layers are ours: `direction.b` is added to the residual after block b.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from localprobe.chat_template import template_key
from localprobe.engine import FloatArray, Info
from localprobe.errors import UsageError, VectorError
from localprobe.vectors.calibrated import Calibration
from localprobe.version import __version__


class ModelShape(Protocol):
    """What decides whether a vector is of use to a model, loaded or not: `Info` has it."""

    @property
    def model(self) -> str:
        """The base model's name."""
        ...

    @property
    def weights(self) -> str:
        """Hash of its weights."""
        ...

    @property
    def layers(self) -> int: ...

    @property
    def width(self) -> int: ...


SCALE_TOLERANCE = 0.1
"""Relative difference between a file's residual lengths and a model's that gives a warning. Quantisations of one model
differ far less."""


@dataclass(frozen=True, slots=True, repr=False)
class Origin:
    """Where a vector comes from: enough to check whether a model can use it, and to fit it again."""

    model: str
    """The base model's name."""
    weights: str = ""
    """Hash of the weights it was fitted on; empty if the file does not say."""
    architecture: str = ""
    width: int = 0
    layers: int = 0
    engine: str = ""
    method: str = ""
    """`mean-difference`, ...; `arithmetic` for results of vector arithmetic."""
    pooling: str = ""
    bos: bool | None = None
    """Whether captured texts began with a BOS token, which affects pooled residuals."""
    template: str = ""
    """Hash of the chat template and its arguments."""
    version: str = __version__
    """Version of localprobe that wrote it; empty for a file of another program."""
    trained_on: tuple[str, ...] = ()
    """Hashes of the pairs that it was fitted on, so that it is never evaluated on them."""
    special_tokens: bool = False
    """Whether special tokens that were written in the texts were read as tokens."""

    @classmethod
    def of(
        cls,
        info: Info,
        *,
        method: str,
        pooling: str,
        trained_on: tuple[str, ...] = (),
        special_tokens: bool = False,
    ) -> Origin:
        """The origin of a vector that is being fitted on this model."""
        import hashlib

        template = hashlib.sha256(template_key(info).encode()).hexdigest()[:16] if info.chat_template else ""
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
            special_tokens=special_tokens,
        )

    def __repr__(self) -> str:
        pairs = f"{len(self.trained_on)} pairs" if self.trained_on else ""
        facts = ", ".join(filter(None, [self.method, self.pooling, self.engine, pairs]))
        return f"<Origin {self.model or 'unnamed model'}{': ' if facts else ''}{facts}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Direction:
    """A direction at one layer."""

    vector: FloatArray
    """(width,) float32. Of length 1 if fitted; control vectors and results of arithmetic have other lengths."""
    norm: float = 1.0
    """Its length before it was normalised or scaled. For a fitted direction, the distance between the poles."""
    threshold: float = 0.0
    """Midpoint of the two poles' mean scores on the training texts, along the normalised direction: a score above it
    counts as positive. With a `probe`, the score along `unit` above which its feature is active. 0 if unknown, as in
    control vectors and after arithmetic."""
    scale: float = 0.0
    """Median residual length at this layer of the model that it was fitted on; 0 if unknown."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Measures from the fit, e.g. `auroc`."""
    probe: FloatArray | None = None
    """(width,) float32: what reads the concept, where that is not the direction itself. A sparse autoencoder writes a
    feature along a row of its decoder and reads it along a column of its encoder."""

    calibrations: tuple[Calibration, ...] = ()
    """Thresholds of known false-positive rates, see `localprobe.vectors.calibrated`."""

    @property
    def unit(self) -> FloatArray:
        """(width,) float32 of length 1: what a residual's score is its projection on. The probe if there is one, else
        the direction."""
        reads = self.vector if self.probe is None else self.probe
        return np.asarray(reads / length(reads), dtype=np.float32)

    @property
    def probe_cosine(self) -> float:
        """Cosine of the direction and what reads it: 1 without a probe of its own."""
        return float(self.vector.astype(np.float64) @ self.unit / self.length)

    @property
    def length(self) -> float:
        """|v|."""
        return length(self.vector)

    def alpha(self, dose: float, scale: float) -> float:
        """The coefficient alpha of a dose: dose * scale / |v|.

        `scale` is the median residual length at this layer of the model to be steered (`Model.scale[layer]`). Use
        the direction's own scale only if no model is loaded.
        """
        return dose * scale / self.length

    def dose(self, alpha: float, scale: float) -> float:
        """The dose of a coefficient alpha: alpha * |v| / scale, with `scale` as for `alpha`."""
        return alpha * self.length / scale

    def __repr__(self) -> str:
        facts = f"|v| {self.length:.4g}, norm {self.norm:.4g}, threshold {self.threshold:.4g}, scale {self.scale:.4g}"
        facts += "" if self.probe is None else ", read by a probe of its own"
        return f"<Direction of width {len(self.vector)}: {facts}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Vector:
    """A concept as a direction at one or more layers of a model."""

    concept: str
    origin: Origin
    directions: Mapping[int, Direction]
    best: int | None = None
    """The default layer; None means all layers together, as control vectors are applied."""
    notices: tuple[str, ...] = ()
    """What was left out of it because it steers nothing, one sentence each, for the user. Not kept in files."""

    def layer(self, layer: int | None = None) -> int:
        """`layer`, or the best one if None. UsageError if the vector has no such layer, or no best one."""
        layer = self.best if layer is None else layer
        if layer is None:
            raise UsageError(f"{self.concept} has directions at layers {self.span}: give one of them as `layer`")
        if layer not in self.directions:
            raise UsageError(f"{self.concept} has no direction at layer {layer}: it has layers {self.span}")
        return layer

    @property
    def span(self) -> str:
        """Its layers as text: `0 to 29`, or `3, 8`."""
        return listed(sorted(self.directions))

    def check_compatible(self, info: ModelShape) -> tuple[str, ...]:
        """Check that the vector can steer or score a model; returns warnings for the user.

        A different width, or a layer that the model does not have, raises VectorError. A different base model of the
        same width gives a warning; different weights of the same base model (Hugging Face, MLX 4-bit, GGUF) are
        normal.
        """
        notices = self.within(info.model, info.layers, info.width).notices
        if self.is_for(info):
            return notices
        made = f"vector {self.concept!r} was made for {self.origin.model}, not for {info.model}: expect little of it"
        return (*notices, made)

    def is_for(self, info: ModelShape) -> bool:
        """Whether it was made for this base model, as far as its file says."""
        return self.origin.weights == info.weights or self.origin.model in (info.model, "")

    def within(self, model: str, layers: int, width: int) -> Vector:
        """The vector as a model of this shape can use it; itself if that is all of it.

        Programs that write control vectors do not record how many blocks the model has, and write directions past the
        last one, which steer nothing: they are left out, with a notice. VectorError for another width, if no direction
        is left, or where the layer that the model lacks is `best`, or the file says how many layers its model has.
        """
        past = []
        for layer, direction in self.directions.items():
            if len(direction.vector) != width:
                raise VectorError(
                    f"vector {self.concept!r} has width {len(direction.vector)}, but {model} has {width}: "
                    f"it was made for {self.origin.model or 'another model'}"
                )
            if not 0 <= layer < layers:
                past.append(layer)
        if not past:
            return self
        if self.origin.layers or self.best in past or len(past) == len(self.directions):
            raise VectorError(
                f"vector {self.concept!r} has a direction at layer {past[0]}, but {model} has layers 0 to "
                f"{layers - 1}: it was made for {self.origin.model or 'another model'}"
            )
        left = {layer: direction for layer, direction in self.directions.items() if layer < layers}
        notice = f"vector {self.concept!r}: {at_layers(past)} past the last block of {model} ({layers - 1}): left out"
        best = next(iter(left)) if len(left) == 1 else self.best
        return replace(self, directions=left, best=best, notices=(*self.notices, notice))

    def check_scale(self, scale: FloatArray, layers: Iterable[int]) -> tuple[str, ...]:
        """Compare the residual lengths that the directions record with a model's, `scale` (layers,), at some layers.

        Doses use the model's own lengths. If the two differ by more than SCALE_TOLERANCE, the same dose is a different
        alpha than on the model that the vector was fitted on: returns one warning, for the layer where they differ
        most.
        """
        ratios = {
            layer: float(scale[layer]) / recorded
            for layer in layers
            if (recorded := self.directions[layer].scale) > 0 and scale[layer] > 0
        }
        layer = max(ratios, key=lambda layer: abs(np.log(ratios[layer])), default=None)
        if layer is None or abs(ratios[layer] - 1) <= SCALE_TOLERANCE:
            return ()
        return (
            f"at layer {layer} the residuals of this model have a median length of {scale[layer]:.4g}, where vector "
            f"{self.concept!r} records {self.directions[layer].scale:.4g}: doses here are of the model's own length",
        )

    def __repr__(self) -> str:
        layers = f"layer {self.span}" if len(self.directions) == 1 else f"layers {self.span}"
        best = "" if self.best is None or len(self.directions) == 1 else f", best {self.best}"
        return f"<Vector {self.concept!r} for {self.origin.model or 'an unnamed model'}: {layers}{best}>"


def times(alpha: float, vector: NDArray[Any]) -> FloatArray:
    """alpha * vector in float32, (width,): what steering adds to a residual."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused before an engine gets it
        return np.asarray(np.float32(alpha) * np.asarray(vector, dtype=np.float32), dtype=np.float32)


def length(vector: FloatArray) -> float:
    """|v|, in float64: in float32 the squares of numbers above 1e19 overflow, and those below 1e-23 vanish."""
    return float(np.linalg.norm(vector.astype(np.float64)))


def steering(vectors: Mapping[int, NDArray[Any]]) -> tuple[dict[int, FloatArray], tuple[str, ...]]:
    """The vectors of a file by layer, (width,) each, as float32 without those that are zero; and a notice about these.

    VectorError for one that is no direction otherwise, or if none is left.
    """
    zero = sorted(layer for layer, vector in vectors.items() if is_zero(vector))
    left = {layer: checked(vector, layer) for layer, vector in vectors.items() if layer not in zero}
    if zero and not left:
        raise VectorError(f"{at_layers(zero)} zero: it steers nothing")
    return left, (f"{at_layers(zero)} zero: left out",) if zero else ()


def listed(layers: Sequence[int]) -> str:
    """Ascending layers as text: `0 to 29`, or `3, 8`."""
    whole = list(layers) == list(range(layers[0], layers[-1] + 1)) and len(layers) > 2
    return f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))


def at_layers(layers: Sequence[int]) -> str:
    """`the direction at layer 3 is`, or `the directions at layers 3, 5 are`."""
    if len(layers) == 1:
        return f"the direction at layer {layers[0]} is"
    return f"the directions at layers {', '.join(map(str, sorted(layers)))} are"


def is_zero(vector: NDArray[Any]) -> bool:
    """Whether a vector holds numbers, all of them zero in float32."""
    return vector.dtype.kind in "fiu" and vector.ndim == 1 and len(vector) > 0 and not _float32(vector).any()


def _float32(vector: NDArray[Any]) -> FloatArray:
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity
        return np.asarray(vector, dtype=np.float32)


def checked(vector: NDArray[Any], layer: int, what: str = "direction") -> FloatArray:
    """The vector as float32 (width,); VectorError unless it is real, finite, one-dimensional and not zero."""
    if vector.ndim != 1 or not len(vector):
        raise VectorError(f"the {what} at layer {layer} has shape {vector.shape}, not (width,)")
    if vector.dtype.kind not in "fiu":
        raise VectorError(f"the {what} at layer {layer} holds {vector.dtype}, not real numbers")
    vector = _float32(vector)
    if not np.isfinite(vector).all():
        raise VectorError(f"the {what} at layer {layer} holds NaN or infinity")
    if not vector.any():
        raise VectorError(f"the {what} at layer {layer} is zero")
    return vector
