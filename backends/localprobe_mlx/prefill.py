"""Running prompts into a cache, and computing watched projections of their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from localprobe.engine import FloatArray, Prompt, Watch
from localprobe_mlx.cache import LayerCache
from localprobe_mlx.forward import pad
from localprobe_mlx.network import Network
from localprobe_mlx.steering import Steerings

_POSITIONS = 4096
"""Positions, over all rows, that are run at once: more is no faster, and takes more memory."""


class Watches:
    """Projections of the residuals of a pass."""

    def __init__(self, watch: Sequence[Watch]) -> None:
        self.layers = [watched.layer for watched in watch]
        self._vectors = [mx.array(watched.vector, mx.float32) for watched in watch]

    def nothing(self, rows: int) -> mx.array:
        """(rows, watches) NaN."""
        return mx.full((rows, len(self._vectors)), float("nan"), mx.float32)

    def scores(self, residuals: dict[int, mx.array]) -> mx.array:
        """(rows, length, watches) float32. Sums of products, because a matrix product may be rounded (TF32)."""
        if not self._vectors:
            rows, length, _ = next(iter(residuals.values())).shape
            return mx.zeros((rows, length, 0), mx.float32)
        watched = zip(self.layers, self._vectors, strict=True)
        return mx.stack([(residuals[layer].astype(mx.float32) * vector).sum(axis=-1) for layer, vector in watched], -1)


class Prefilled(NamedTuple):
    """The result of a prefill."""

    logits: mx.array
    """(prompts, vocabulary) float32: logits of the token after each prompt."""
    scores: list[FloatArray]
    """For each prompt: (n - keep, watches) float32."""


def prefill(
    network: Network, caches: list[LayerCache], prompts: Sequence[Prompt], watches: Watches, *, long: bool
) -> Prefilled:
    """Run each prompt from its position `keep` on, rotated as rows of more than `rope_length` tokens if `long`. Prompts
    are padded on the right.

    Padding in the cache lies beyond the row's end: no query attends to it, and decoding overwrites it.
    """
    last = network.layers - 1
    ids = pad([prompt.ids[prompt.keep :] for prompt in prompts])  # (prompts, longest)
    lengths = np.array([len(prompt.ids) - prompt.keep for prompt in prompts])
    steerings = Steerings([prompt.steering for prompt in prompts])
    step = max(_POSITIONS // len(prompts), 1)
    ends = [mx.zeros(0)] * len(prompts)  # each prompt's residual after its last position, (width,)
    scores = []
    for low in range(0, ids.shape[1], step):
        part = ids[:, low : low + step]
        starts = [prompt.keep + low for prompt in prompts]
        residuals = network.climb(
            part, starts, caches, deepest=last, wanted=watches.layers, steerings=steerings, long=long
        )
        for row in np.flatnonzero((low < lengths) & (lengths <= low + step)).tolist():
            ends[row] = residuals[last][row, int(lengths[row]) - 1 - low]
        scores.append(watches.scores(residuals))
        mx.eval(residuals[last], scores)
    logits = network.logits(mx.stack(ends))
    mx.eval(logits)
    columns = np.concatenate([np.array(part) for part in scores], axis=1)  # (prompts, longest, watches)
    return Prefilled(logits, [own[:length] for own, length in zip(columns, lengths.tolist(), strict=True)])
