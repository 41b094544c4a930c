"""A pool of contexts, created in the size needed and reused by later calls that they fit."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from localprobe.errors import OutOfMemory, UsageError
from localprobe_llama.context import MOST_SEQUENCES, Context
from localprobe_llama.model import LlamaModel

_IDLE = 2  # one for passes, one for decoding
_WASTE = 4  # a reused context may be larger than needed by this factor
_GRAIN = 1024  # cells are rounded up to a multiple, so that a chat rarely needs a larger cache
_PAGE = 256  # the same if memory is short: llama.cpp rounds up to it anyway


@dataclass(frozen=True, slots=True)
class Need:
    """The size of the context that a call needs."""

    cells: int
    """Tokens of all rows."""
    rows: int
    longest: int
    """Tokens of the longest row that is prefilled."""
    outputs: int
    """Tokens of a pass whose logits are computed."""


class Pool:
    """The contexts of one model."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._idle: list[Context] = []
        self._made: weakref.WeakSet[Context] = weakref.WeakSet()

    def take(self, need: Need) -> Context:
        """An empty context, with room to spare if there is memory for it. Raises OutOfMemory."""
        cells, rows = self._cells(need, self._grain), min(_doubled(need.rows), MOST_SEQUENCES)
        for context in self._idle:
            slim = context.cells <= _WASTE * cells and context.rows <= _WASTE * rows
            if slim and self.fits(context, need):
                self._idle.remove(context)
                return context
        while len(self._idle) >= _IDLE:
            self._idle.pop(0).close()
        outputs = max(rows, min(_doubled(need.outputs), self._model.batch))
        try:
            context = Context(self._model, cells, rows, outputs)
        except OutOfMemory:
            self._free_idle()
            context = Context(self._model, self._cells(need, _PAGE), need.rows, max(need.rows, need.outputs))
        self._made.add(context)
        return context

    def fits(self, context: Context, need: Need) -> bool:
        """Whether a context is large enough, and uses the RoPE factors that the longest row needs."""
        large = context.cells >= need.cells and context.rows >= need.rows and context.outputs >= need.outputs
        short = self._model.short_context
        return large and (short is None or self._is_long(context) == (need.longest > short))

    def alike(self, one: Context, other: Context) -> bool:
        """Whether two contexts compute the same keys, so that one can reuse the other's."""
        return self._is_long(one) == self._is_long(other)

    def give(self, context: Context) -> None:
        """Return a context to the pool, whatever it holds."""
        context.clear()
        self._idle.append(context)
        while len(self._idle) > _IDLE:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Free every context, including those of streams: none may outlive the model."""
        self._idle.clear()
        for context in list(self._made):
            context.close()

    def _is_long(self, context: Context) -> bool:
        short = self._model.short_context
        return short is not None and context.cells > short

    @property
    def _grain(self) -> int:
        return _PAGE if self._model.low_memory else _GRAIN

    def _cells(self, need: Need, grain: int) -> int:
        rounded = -(-need.cells // grain) * grain
        short = self._model.short_context
        if short is None:
            return rounded
        if short < need.longest <= self._model.trained_context:
            raise UsageError(
                f"a row of {need.longest} tokens: llama.cpp computes this model's rows of {short + 1} to "
                f"{self._model.trained_context} tokens with the RoPE factors for longer ones; use another engine"
            )
        if need.longest > short:
            return max(rounded, short + 1)
        if need.cells > short:
            raise OutOfMemory(
                f"rows of {need.cells} tokens in all: past {short}, llama.cpp computes this model as a long-context "
                "one; use fewer rows"
            )
        return min(rounded, short)

    def _free_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _doubled(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length() if count else 1
