"""Contexts, made to the size that is needed, and kept for the next call that they fit."""

from __future__ import annotations

from localprobe.errors import OutOfMemory
from localprobe_llama.context import MOST_SEQUENCES, Context
from localprobe_llama.model import Model

_IDLE = 2  # one for passes, one for decoding
_WASTE = 4  # a kept context may be so many times larger than asked for
_GRAIN = 1024  # cells are rounded up to it, so that a chat seldom needs a larger cache


class Pool:
    """The contexts of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._idle: list[Context] = []

    def take(self, cells: int, rows: int, longest: int) -> Context:
        """An empty context for `cells` tokens of `rows` rows, the longest of `longest` tokens. Raises OutOfMemory."""
        cells, rows = self._cells(cells, longest), min(1 << (rows - 1).bit_length(), MOST_SEQUENCES)
        for context in self._idle:
            if self.fits(context, cells, longest) and context.cells <= _WASTE * cells and rows <= context.rows <= _WASTE * rows:
                self._idle.remove(context)
                return context
        while len(self._idle) >= _IDLE:
            self._idle.pop(0).close()
        return Context(self._model, cells, rows)

    def fits(self, context: Context, cells: int, longest: int) -> bool:
        """Whether a context can hold `cells` tokens, and rotates as a row of `longest` tokens needs."""
        short = self._model.short_context
        return context.cells >= cells and (short is None or (context.cells > short) == (longest > short))

    def _cells(self, cells: int, longest: int) -> int:
        rounded = -(-cells // _GRAIN) * _GRAIN
        short = self._model.short_context
        if short is None:
            return rounded
        if longest > short:
            return max(rounded, short + 1)
        if cells > short:
            raise OutOfMemory(
                f"rows of {cells} tokens in all: this model takes {short} at once before llama.cpp computes it as a "
                "long-context model; use fewer rows"
            )
        return min(rounded, short)

    def give(self, context: Context) -> None:
        """Take a context back, whatever it holds."""
        context.clear()
        self._idle.append(context)
        while len(self._idle) > _IDLE:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Free the contexts that nobody uses."""
        while self._idle:
            self._idle.pop().close()

