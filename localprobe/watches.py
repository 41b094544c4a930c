"""Projections that a stream reads, when what it reads changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localprobe.engine import FloatArray, Watch


def arranged(scores: FloatArray, before: Sequence[Watch], after: Sequence[Watch]) -> FloatArray:
    """Scores (rows, before) as those of the watches `after`, (rows, after): NaN for what was not read before."""
    columns = {watch.content: column for column, watch in enumerate(before)}
    found = np.full((len(scores), len(after)), np.nan, np.float32)
    for column, watch in enumerate(after):
        if watch.content in columns:
            found[:, column] = scores[:, columns[watch.content]]
    return found
