"""The subspace that vectors span, and its removal from the rows or columns of a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import UsageError
from localprobe.vectors.subspace import orthonormal
from localprobe.vectors.vector import Vector

Basis = NDArray[np.float64]
"""(width, k): orthonormal columns."""

_INDEPENDENT = 1e-3
"""The least length of a unit direction's part outside the ones before. Below it rounding decides where it points."""


def basis(vectors: Sequence[Vector], layers: Sequence[int]) -> Basis:
    """An orthonormal basis, (width, k) float64, of the directions of vectors at one layer each.

    UsageError if a direction lies in the span of the ones before it, which removes nothing more.
    """
    spanned, parts = orthonormal([v.directions[layer].vector for v, layer in zip(vectors, layers, strict=True)])
    for number, part in enumerate(parts):
        if part < _INDEPENDENT:
            raise UsageError(
                f"{vectors[number].concept!r} at layer {layers[number]} lies in the span of the directions before it: "
                "removing it as well changes nothing, leave it out"
            )
    return spanned


def without(rows: NDArray[np.float64], directions: Basis, share: float) -> NDArray[np.float64]:
    """Rows (n, width) less `share` of their part in the subspace: E' = E - s (E D) D^T."""
    return rows - share * (rows @ directions) @ directions.T
