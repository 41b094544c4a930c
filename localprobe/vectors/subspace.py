"""The subspace that directions span."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray


def orthonormal(directions: Sequence[FloatArray]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An orthonormal basis (width, k) float64 of the span of directions (width,), and (k,) the lengths of each unit
    direction's part outside the ones before it: rounding decides where a column of almost 0 points.

    Each column points to the side of its direction.
    """
    columns = np.stack([direction.astype(np.float64) for direction in directions], axis=1)
    basis, triangle = np.linalg.qr(columns / np.linalg.norm(columns, axis=0))
    diagonal = np.diagonal(triangle)
    return basis * np.sign(diagonal), np.abs(diagonal)
