"""A loaded mlx-lm model as three operations: run its blocks, run its head, and create caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from localprobe.errors import UnsupportedModel
from localprobe_mlx.blocks import Bypass, Climb, hook
from localprobe_mlx.cache import LayerCache, NoCache, Place
from localprobe_mlx.quiet import first_line
from localprobe_mlx.rope import Side
from localprobe_mlx.steering import Steerings

_PROBED = 5
"""Number of positions in the passes that examine a model's structure."""


class Network:
    """Blocks, head and caches of one model.

    Raises UnsupportedModel, with the reason, if the model is not a plain stack of blocks with one residual stream.
    """

    def __init__(
        self,
        model: Any,
        windows: Sequence[int | None] | None = None,
        *,
        side: Side | None = None,
        rope_length: int | None = None,
    ) -> None:
        """`windows`: the window of each layer, for a model that mlx-lm runs without sliding windows. `side`: the switch
        of its RoPE for rows of more than `rope_length` tokens."""
        self._model = model
        self._side = side or Side()
        self.rope_length = rope_length
        blocks = getattr(model, "layers", None)
        if not isinstance(blocks, Sequence) or not blocks:
            raise UnsupportedModel("this mlx-lm model has no list of blocks to read residuals from: use another engine")
        self.layers = len(blocks)
        self._windows = _windows(model, self.layers)
        forgotten = windows is not None and len(windows) == self.layers and not self.has_windows and any(windows)
        if forgotten:
            self._windows = list(windows or ())
        self._tap = hook(blocks, own_masks=forgotten)
        self._head_caches = self.no_caches()
        self._ragged_axes: int | None = None
        self._extras = self._count_extras()
        self._check_structure()
        self._ragged_axes = self._find_ragged_axes()

    @property
    def batches(self) -> bool:
        """Whether rows at different positions can share a pass; if not, each gets its own."""
        return self._ragged_axes is not None

    @property
    def has_windows(self) -> bool:
        """Whether some layer has a sliding window."""
        return any(window is not None for window in self._windows)

    def caches(self, rows: int, slots: int) -> list[LayerCache]:
        """Empty caches, one per layer, for `rows` rows of up to `slots` positions."""
        return [LayerCache(window, rows, slots) for window in self._windows]

    def no_caches(self) -> list[LayerCache]:
        """Caches that keep nothing, for one pass."""
        return [NoCache(window) for window in self._windows]

    def climb(
        self,
        ids: mx.array,
        starts: Sequence[int],
        caches: list[LayerCache],
        *,
        deepest: int,
        wanted: Sequence[int] = (),
        steerings: Steerings | None = None,
        long: bool = False,
    ) -> dict[int, mx.array]:
        """Run ids (rows, length) at positions from `starts` on, up to the block `deepest`, and no further.

        `long` says that the rows have, or will have after a prefill in parts, more than `rope_length` tokens.
        Returns residuals (rows, length, width) of `wanted` and `deepest`, in the model's dtype, not yet evaluated.
        """
        self._side.long = long
        length = ids.shape[1]
        if min(starts) == max(starts) or self._ragged_axes is not None:
            additions = steerings.at(starts, length) if steerings else {}
            place = Place(starts, length, mask_axes=self._ragged_axes or 1)
            return self._run(ids, place, caches, Climb(deepest, wanted, additions))
        # The model does not support rows at different positions in one pass, so each row has its own pass.
        alone = []
        for row, start in enumerate(starts):
            additions = steerings.take([row]).at([start], length) if steerings else {}
            place = Place([start], length, rows=slice(row, row + 1))
            alone.append(self._run(ids[row : row + 1], place, caches, Climb(deepest, wanted, additions)))
        return {layer: mx.concatenate([residuals[layer] for residuals in alone]) for layer in alone[0]}

    def _run(self, ids: mx.array, place: Place, caches: list[LayerCache], climb: Climb) -> dict[int, mx.array]:
        for cache in caches:
            cache.place = place
        self._tap.run(climb, lambda: self._model(ids, cache=caches))
        return climb.residuals

    def is_long(self, length: int) -> bool:
        """Whether a row of `length` tokens is rotated by the factors for long rows."""
        return self.rope_length is not None and length > self.rope_length

    def logits(self, hidden: mx.array) -> mx.array:
        """Next-token logits (k, vocabulary) float32 of residuals (k, width) after the last block."""
        ids = mx.zeros((1, hidden.shape[0]), mx.int32)
        bypass = Bypass(hidden[None], self._extras)
        logits: mx.array = self._tap.run(bypass, lambda: self._model(ids, cache=self._head_caches))
        return logits[0].astype(mx.float32)  # of (1, k, vocabulary)

    def _count_extras(self) -> int:
        """Number of values that a block returns besides the residual; also checks that each block runs once, in
        order."""
        survey = _Survey()
        ids = mx.zeros((2, _PROBED), mx.int32)
        caches = self.no_caches()
        for cache in caches:
            cache.place = Place([0, 0], _PROBED)
        try:
            self._tap.run(survey, lambda: self._model(ids, cache=caches))
        except Exception as problem:
            raise UnsupportedModel(f"mlx-lm cannot run this model with a KV cache ({first_line(problem)})") from None
        shapes = {_shape(out) for out in survey.outs}
        if survey.order != list(range(self.layers)) or len(shapes) != 1 or None in shapes:
            raise UnsupportedModel(
                "the blocks of this mlx-lm model are not one stack with one residual stream: use another engine"
            )
        first = survey.outs[0]
        return len(first) - 1 if isinstance(first, tuple) else 0

    def _check_structure(self) -> None:
        """Check on a few tokens that blocks + head give the model's own logits, and determine sizes."""
        ids = mx.arange(_PROBED)[None]
        last = self.layers - 1
        caches = self.caches(1, _PROBED)
        hidden = self.climb(ids, [0], caches, deepest=last)[last]  # (1, probed, width)
        self.width = hidden.shape[-1]
        self.slot_bytes = sum(array.nbytes for cache in caches for array in cache.arrays) // _PROBED
        """Bytes of cache that a position of a row takes."""
        logits = self.logits(hidden[0])  # (probed, vocabulary)
        self.vocabulary = logits.shape[-1]
        expected = self._model(ids, cache=caches)[0].astype(mx.float32)  # the caches are still at position 0
        if (
            logits.shape != expected.shape
            or not mx.allclose(logits, expected, rtol=2e-2, atol=2e-2, equal_nan=True).item()
        ):
            raise UnsupportedModel(
                "this mlx-lm model does more than a norm and a head after its last block: use another engine"
            )

    def _find_ragged_axes(self) -> int | None:
        """Number of axes between rows and queries that a mask needs when rows start at different positions.

        1 for most models, which pass the mask to MLX's attention; 2 for those that group heads themselves (Gemma 2);
        None if neither works. Only shapes are checked, with two batch sizes, as one of them may equal a number of heads
        and broadcast by chance.
        """
        for axes in (1, 2):
            self._ragged_axes = axes
            try:
                for rows in (2, 3):
                    ids, caches = mx.zeros((rows, 2), mx.int32), self.caches(rows, rows + 2)
                    self.climb(ids, list(range(rows)), caches, deepest=self.layers - 1)
            except Exception:
                continue
            return axes
        return None


class _Survey:
    """A pass that only records which blocks ran and what they returned."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.outs: list[Any] = []

    def at(self, layer: int, block: Any) -> Any:
        out = block()
        self.order.append(layer)
        self.outs.append(out)
        return out


def _shape(out: Any) -> tuple[int, ...] | None:
    """(rows, length, width) of a block's residual; None for another kind of output."""
    hidden = out[0] if isinstance(out, tuple) and out else out
    if not isinstance(hidden, mx.array) or hidden.shape[:-1] != (2, _PROBED):
        return None
    return tuple(hidden.shape)


def _windows(model: Any, layers: int) -> list[int | None]:
    """The window of each of the model's caches, None for full attention."""
    from mlx_lm.models.cache import KVCache, RotatingKVCache

    if not hasattr(model, "make_cache"):
        return [None] * layers
    windows: list[int | None] = []
    for own in model.make_cache():
        if type(own) is RotatingKVCache and own.keep == 0:
            windows.append(own.max_size)
        elif type(own) is KVCache:
            windows.append(None)
        else:
            raise UnsupportedModel(
                f"this model keeps a {type(own).__name__} beside keys and values, which the MLX engine cannot cut or "
                "batch: use another engine"
            )
    return windows
