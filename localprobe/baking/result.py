"""What was baked, and how it was checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Removed:
    """A direction that was removed."""

    concept: str
    layer: int
    """The layer that the direction was fitted at. It is removed at every layer."""
    sha256: str
    """Hash of the whole vector's layers and tensors, as runs record it."""
    model: str
    """The model that it was fitted on; empty if its file does not say."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the residuals of the baked model, loaded on an engine, have left along the directions."""

    engine: str
    dtype: str
    """Type that the engine computed in."""
    tokens: int
    layers: int
    left: float
    """The largest over layers of sqrt(mean over tokens of |P h|^2 / |h|^2) / sqrt(k / width), where P projects onto the
    k directions: 1 is what random directions have."""
    tolerance: float


@dataclass(frozen=True, slots=True)
class Baked:
    """A folder of weights that the directions were removed from."""

    output: Path
    model: str
    weights: str
    """Fingerprint of the source's weights."""
    architecture: str
    dtype: str
    """Type of the changed tensors: `float32`, `bfloat16`, ...; several are joined by `, `."""
    share: float
    removed: tuple[Removed, ...]
    changed: dict[str, int]
    """What writes to the residual stream -> how many of its tensors were changed, biases included."""
    tensors: int
    """Tensors in all, the unembedding that was untied included."""
    untied: bool
    """Whether the embedding was also the unembedding, which now is a tensor of its own."""
    quantisation: str = ""
    """Of the GGUF file that the weights were converted from, `Q4_1`; empty for a folder."""
    left_out: tuple[str, ...] = ()
    """Files and folders of the source that were not copied."""
    check: Check | None = None
    unchecked: str = ""
    """Why nothing was checked."""
