"""Loading a baked folder, and looking for what its residuals have left along the directions.

That every writer was found is not believed but measured: one that was missed, or a norm that nothing named, leaves in
the residuals of some layer a part along the directions as large as along any other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localprobe.baking.result import Check
from localprobe.baking.subspace import Basis
from localprobe.engine import LoadOptions
from localprobe.errors import EngineNotInstalled, ModelError, OutOfMemory
from localprobe.model import Model
from localprobe.progress import Progress, silent

TOLERANCE = {"float64": 1e-3, "float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
"""The most that may be left, in parts of what random directions have, by the coarser type of weights and arithmetic.
Rounding to float32, float16 and bfloat16 changes a number by up to 6e-8, 5e-4 and 4e-3 of itself: of a sum of many
writes about that is left, and up to ten times as much along a direction with few large coordinates."""
_TEXTS, _TOKENS = 4, 64
_PREFERRED = ("torch", "mlx")


def engines() -> list[str]:
    """The installed engines that load folders, the one to check with first."""
    from localprobe import discovery

    able = [n for n in discovery.names() if discovery.installed(n) and "folder" in discovery.backend(n).formats]
    return sorted(able, key=lambda name: _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED))


def check(folder: Path, directions: Basis, stored: str, progress: Progress = silent) -> Check:
    """Load a folder, whose weights were written at share 1, and measure what is left along the directions.

    `stored` is the type of its weights. It is computed in float32 where that fits into memory. Raises ModelError if
    more is left than rounding explains, EngineNotInstalled or OutOfMemory if it cannot be loaded here, EngineError.
    """
    names = engines()
    if not names:
        raise EngineNotInstalled("no engine that loads folders is installed")
    try:
        return _measured(folder, names[0], "float32", directions, stored, progress)
    except OutOfMemory:
        return _measured(folder, names[0], None, directions, stored, progress)


def _measured(
    folder: Path, engine: str, dtype: str | None, directions: Basis, stored: str, progress: Progress
) -> Check:
    with Model.load(str(folder), engine, LoadOptions(dtype=dtype), progress=progress) as model:
        by_token = np.concatenate(
            [_parts(taken.residuals, directions) for taken in model.capture(_texts(), None, "tokens", limit=_TOKENS)],
            axis=1,
        )  # (layers, tokens)
        computed = model.info.dtype
    width, k = directions.shape
    left = np.sqrt((by_token**2).mean(axis=1) * width / k)  # (layers,)
    tolerance = max(TOLERANCE.get(stored, 0.0), TOLERANCE.get(computed, TOLERANCE["bfloat16"]))
    worst = int(np.argmax(left))
    found = Check(engine, computed, by_token.shape[1], len(left), float(left[worst]), tolerance)
    if not found.left <= tolerance:  # NaN is no pass
        raise ModelError(
            f"the removal does not hold: at layer {worst} the residuals of the written model have {found.left:.2g} of "
            f"what a random direction has left along it (at most {tolerance:g} by rounding), so something in this "
            "architecture writes to the residual stream that was not changed; nothing was kept"
        )
    return found


def _parts(residuals: NDArray[np.float32], directions: Basis) -> NDArray[np.float64]:
    """The part of each residual (layers, n, width) that lies in the subspace, relative to its length, (layers, n)."""
    wide = residuals.astype(np.float64)
    parts: NDArray[np.float64] = np.linalg.norm(wide @ directions, axis=-1) / np.linalg.norm(wide, axis=-1)
    return parts


def _texts() -> list[str]:
    from localprobe.contrast.pairs import TEXT_SETS, read_texts

    return read_texts(TEXT_SETS.path("neutral"))[:_TEXTS]
