"""The transformer blocks of an mlx-lm model, modified to record and steer the residual stream.

mlx-lm's models call `layer(h, mask, cache)` in a loop that also reads attributes of the layers. So a block is not
wrapped: its class is replaced by a subclass that lets the `Tap` handle its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import mlx.core as mx

from localprobe_mlx.steering import LayerEdits, steer


class Stop(Exception):
    """Ends a pass at the deepest layer that is needed."""


class Pass(Protocol):
    """What happens at each block while the model runs."""

    def at(self, layer: int, block: Callable[[], Any]) -> Any:
        """What block `layer` returns; `block()` computes it as the model would."""
        ...


class Tap:
    """The current pass of the blocks of one model; without one they run unmodified."""

    def __init__(self) -> None:
        self.running: Pass | None = None

    def run(self, running: Pass, call: Callable[[], Any]) -> Any:
        """Run the model by `call` under a pass. Returns None if the pass stopped it."""
        self.running = running
        try:
            return call()
        except Stop:
            return None
        finally:
            self.running = None


class Climb:
    """A pass up to `deepest`: steers, and records the residuals of `wanted` layers.

    Each residual is (rows, length, width), in the model's dtype, after any steering at its layer.
    """

    def __init__(self, deepest: int, wanted: Sequence[int], edits: Mapping[int, LayerEdits]) -> None:
        self._deepest = deepest
        self._wanted = {*wanted, deepest}
        self._edits = edits
        self.residuals: dict[int, mx.array] = {}

    def at(self, layer: int, block: Callable[[], Any]) -> Any:
        out = block()
        hidden = _hidden(out)  # (rows, length, width)
        if layer in self._edits:
            hidden = steer(hidden, self._edits[layer])
            out = (hidden, *out[1:]) if isinstance(out, tuple) else hidden
        if layer in self._wanted:
            self.residuals[layer] = hidden
        if layer == self._deepest:
            raise Stop
        return out


class Bypass:
    """A pass without blocks: the last one returns `hidden`, so that only the final norm and head run."""

    def __init__(self, hidden: mx.array, extras: int) -> None:
        """`extras` is the number of values that a block returns besides the residual."""
        self._out = (hidden, *[None] * extras) if extras else hidden

    def at(self, layer: int, block: Callable[[], Any]) -> Any:
        return self._out


def hook(layers: Sequence[Any], *, own_masks: bool = False) -> Tap:
    """Let the returned tap control the blocks of a model, given in order.

    With `own_masks`, each block takes the mask of its own cache instead of the shared one.
    """
    tap = Tap()
    hooked: dict[type, type] = {}
    for number, layer in enumerate(layers):
        original = type(layer)
        if original not in hooked:
            hooked[original] = type(original.__name__, (original,), {"__call__": _hooked_call(original, own_masks)})
        layer.__class__ = hooked[original]
        object.__setattr__(layer, "localprobe_tap", (tap, number))
    return tap


def _hooked_call(original: type, own_masks: bool) -> Callable[..., Any]:
    plain: Callable[..., Any] = original.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tap, number = self.localprobe_tap
        if tap.running is None:
            return plain(self, *args, **kwargs)
        if own_masks:
            args = _with_own_mask(*args, **kwargs)
        return tap.running.at(number, lambda: plain(self, *args, **kwargs))

    return call


def _with_own_mask(hidden: mx.array, mask: Any, *rest: Any, cache: Any = None) -> tuple[Any, ...]:
    """The arguments of a block `(hidden, mask, cache)`, with the mask of its own cache."""
    own = (cache or rest[0]).make_mask(hidden.shape[1], return_array=isinstance(mask, mx.array))
    return (hidden, own, *rest)


def _hidden(out: Any) -> mx.array:
    """The residual in the output of a block, which may be a tuple that begins with it."""
    hidden: mx.array = out[0] if isinstance(out, tuple) else out
    return hidden
