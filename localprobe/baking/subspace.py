"""The subspace that vectors span, and its removal from the rows or columns of a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import UsageError
from localprobe.vectors.vector import Vector

Basis = NDArray[np.float64]
"""(width, k): orthonormal columns."""

_INDEPENDENT = 1e-3
"""The least length of a unit direction's part outside the ones before. Below it rounding decides where it points."""


def basis(vectors: Sequence[Vector], layers: Sequence[int]) -> Basis:
    """An orthonormal basis, (width, k) float64, of the directions of vectors at one layer each.

    UsageError if a direction lies in the span of the ones before it, which removes nothing more.
    """
    stacked = np.stack([_unit(v, layer) for v, layer in zip(vectors, layers, strict=True)], axis=1)  # (width, k)
    orthonormal, triangle = np.linalg.qr(stacked)
    for number, outside in enumerate(np.abs(np.diagonal(triangle))):
        if outside < _INDEPENDENT:
            raise UsageError(
                f"{vectors[number].concept!r} at layer {layers[number]} lies in the span of the directions before it: "
                "removing it as well changes nothing, leave it out"
            )
    return orthonormal


def without(rows: NDArray[np.float64], directions: Basis, share: float) -> NDArray[np.float64]:
    """Rows (n, width) less `share` of their part in the subspace: E' = E - s (E D) D^T."""
    return rows - share * (rows @ directions) @ directions.T


def _unit(vector: Vector, layer: int) -> NDArray[np.float64]:
    direction = vector.directions[layer].vector.astype(np.float64)
    unit: NDArray[np.float64] = direction / np.linalg.norm(direction)
    return unit
