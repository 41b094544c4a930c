"""How much of what a cache holds a request can begin with: as far as the tokens, and the steering that each position
was computed under, are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localprobe.engine import Engine, IntArray, Steering
from localprobe.generation.gates import RowGates
from localprobe.generation.request import Request
from localprobe.steering.history import same_until


def reusable(engine: Engine, held: Sequence[int] | IntArray, under: Steering, request: Request) -> int:
    """The number of leading positions of a cached row that a request can reuse. `held` are the row's ids, `under` is
    the steering that they were computed under."""
    info = engine.info
    if info.is_long(len(held)) != info.is_long(len(request.ids)):
        return 0  # its keys were rotated by other factors
    steering = RowGates(engine, request.steering).steering()
    same = same_until(under, steering, common_prefix(held, request.ids))
    return min(same, len(request.ids) - 1)


def common_prefix(a: Sequence[int] | IntArray, b: IntArray) -> int:
    """Length of the common prefix of two rows of ids."""
    n = min(len(a), len(b))
    different = np.nonzero(np.asarray(a[:n], dtype=np.int32) != b[:n])[0]
    return int(different[0]) if len(different) else n
