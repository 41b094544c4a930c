"""A loaded mlx-lm model as three operations: run its blocks, run its head, and create caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from localprobe.errors import UnsupportedModel, first_line
from localprobe_mlx.blocks import Bypass, Climb, hook
from localprobe_mlx.cache import LayerCache, NoCache, Place
from localprobe_mlx.kept import why_not_decoded
from localprobe_mlx.rope import Side
from localprobe_mlx.steering import Steerings

_TEXT = 24
"""Tokens of the text on which causality is checked."""
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
        self.no_decoding = why_not_decoded(model, blocks)
        """Why rows cannot be decoded (`Capabilities.no_decoding`): then passes begin with caches of mlx-lm's own."""
        self._windows = [None] * self.layers if self.no_decoding else _windows(model, self.layers)
        known = windows is not None and len(windows) == self.layers and not self.no_decoding
        forgotten = known and not self.has_windows and any(windows or ())
        if forgotten:
            self._windows = list(windows or ())
        self._tap = hook(blocks, own_masks=forgotten)
        self._head_caches = self.no_caches()
        self._ragged_axes: int | None = None
        self._extras = self._count_extras()
        try:
            self._check_structure()
            self._check_causality()
        except UnsupportedModel:
            raise
        except Exception as problem:
            what = f"mlx-lm cannot run the blocks and the head of this model apart ({first_line(problem)})"
            raise UnsupportedModel(f"{what}: use another engine") from None
        self._ragged_axes = None if self.no_decoding else self._find_ragged_axes()

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
        """Caches for one pass, that keep nothing; for a model that is not decoded, new ones of mlx-lm's own."""
        if self.no_decoding:
            return list(self._model.make_cache())
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
            edits = steerings.at(starts, length) if steerings else {}
            place = Place(starts, length, mask_axes=self._ragged_axes or 1)
            return self._run(ids, place, caches, Climb(deepest, wanted, edits))
        # The model does not support rows at different positions in one pass, so each row has its own pass.
        alone = []
        for row, start in enumerate(starts):
            edits = steerings.take([row]).at([start], length) if steerings else {}
            place = Place([start], length, rows=slice(row, row + 1))
            alone.append(self._run(ids[row : row + 1], place, caches, Climb(deepest, wanted, edits)))
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
        caches = self.no_caches() if self.no_decoding else self.caches(1, _PROBED)
        hidden = self.climb(ids, [0], caches, deepest=last)[last]  # (1, probed, width)
        self.width = hidden.shape[-1]
        arrays = [] if self.no_decoding else [array for cache in caches for array in cache.arrays]
        self.slot_bytes = sum(array.nbytes for array in arrays) // _PROBED
        """Bytes of cache that a position of a row takes."""
        logits = self.logits(hidden[0])  # (probed, vocabulary)
        self.vocabulary = logits.shape[-1]
        again = self.no_caches() if self.no_decoding else caches  # these are still at position 0
        expected = self._model(ids, cache=again)[0].astype(mx.float32)
        if (
            logits.shape != expected.shape
            or not mx.allclose(logits, expected, rtol=2e-2, atol=2e-2, equal_nan=True).item()
        ):
            raise UnsupportedModel(
                "this mlx-lm model does more than a norm and a head after its last block: use another engine"
            )

    def _check_causality(self) -> None:
        """Check that the residual of a position is the same whatever follows, as rows are padded on the right."""
        ids, last = mx.arange(_TEXT)[None] % self.vocabulary, self.layers - 1
        whole = self.climb(ids, [0], self.no_caches(), deepest=last)[last]
        part = self.climb(ids[:, :-3], [0], self.no_caches(), deepest=last)[last]
        off: Any = mx.linalg.norm((whole[:, :-3] - part).astype(mx.float32)) / mx.linalg.norm(part.astype(mx.float32))
        if off.item() > (5e-3 if part.dtype == mx.float32 else 1e-1):  # NaN, of broken weights, is no news here
            raise UnsupportedModel(
                "in this mlx-lm model a token's residual depends on how many follow it: use another engine"
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
    if not hasattr(model, "make_cache"):
        return [None] * layers
    return [getattr(own, "max_size", None) for own in model.make_cache()]
