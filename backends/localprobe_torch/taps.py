"""Taps: reading and steering the residual stream after each block in one pass of the model.

Every block has a forward hook from load to close. Without a plan it does nothing; with one it adds the steering of its
layer, passes the residual to the layer's readers, and ends the pass after the deepest layer needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor, nn

Add: TypeAlias = Callable[[Tensor], Tensor]
"""Steers the residual of one layer: (rows, positions, width) -> the same shape and dtype."""
Read: TypeAlias = Callable[[Tensor], None]
"""Reads the residual of one layer, (rows, positions, width) in the model's dtype; it must copy what it keeps."""


class _Stopped(Exception):
    """The deepest layer needed was reached."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of one pass after its blocks, by layer."""

    adds: Mapping[int, Add] = field(default_factory=dict)
    reads: Mapping[int, Read] = field(default_factory=dict)
    last: int | None = None
    """The layer that ends the pass; None runs the whole model."""


class Taps:
    """The hooks on the blocks of one model."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._plan: Plan | None = None
        self._handles = [block.register_forward_hook(partial(self._after, b)) for b, block in enumerate(blocks)]

    def _after(self, layer: int, _module: nn.Module, _inputs: object, output: Any) -> Any:
        plan = self._plan
        if plan is None:
            return None
        add, read = plan.adds.get(layer), plan.reads.get(layer)
        changed = None
        if add is not None or read is not None:
            several = isinstance(output, (tuple, list))
            hidden = output[0] if several else output  # (rows, positions, width)
            if add is not None:
                hidden = add(hidden)
                changed = (hidden, *output[1:]) if several else hidden
            if read is not None:
                read(hidden)
        if layer == plan.last:
            raise _Stopped
        return changed

    @contextmanager
    def following(self, plan: Plan) -> Iterator[None]:
        """Passes inside the block follow `plan`; ending one early raises nothing."""
        self._plan = plan
        try:
            yield
        except _Stopped:
            pass
        finally:
            self._plan = None

    def remove(self) -> None:
        """Remove the hooks from the blocks."""
        for handle in self._handles:
            handle.remove()
