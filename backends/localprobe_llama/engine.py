"""The engine's verbs over one loaded model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from localprobe.batches import apart
from localprobe.checks import check_sides
from localprobe.engine import Info, IntArray, Output, Prompt, Reserve, Row, Stream, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe_llama import joining
from localprobe_llama.context import MOST_SEQUENCES, Context
from localprobe_llama.forward import forward
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Need, Pool
from localprobe_llama.rows import Kept
from localprobe_llama.stream import LlamaStream, need


class LlamaEngine:
    """A loaded GGUF model. See `localprobe.engine.Engine`."""

    def __init__(self, model: LlamaModel, pool: Pool, info: Info) -> None:
        self.info = info
        self._model, self._pool = model, pool
        self._streams: weakref.WeakSet[LlamaStream] = weakref.WeakSet()
        self._closed = False

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        return self._open().vocabulary.encode(text, template=template)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return self._open().vocabulary.decode(ids)

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        model = self._open()
        return apart(self.info, rows, lambda part: forward(model, self._pool, part, layers))

    def open(
        self,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch] = (),
        reuse: Stream | None = None,
        reserve: Reserve | None = None,
    ) -> LlamaStream:
        model = self._open()
        check_sides(self.info, prompts)
        needed = joining.need(model, reserve, watch) if reserve else need(model, prompts, room, watch)
        if needed.rows > MOST_SEQUENCES:
            raise OutOfMemory(f"llama.cpp decodes at most {MOST_SEQUENCES} rows at once, not {needed.rows}: use fewer")
        context, kept = self._context(needed, prompts, reuse)
        try:
            if reserve:
                stream: LlamaStream = joining.JoinableStream(
                    model, self._pool, context, kept, prompts, room=room, watch=watch, reserve=reserve
                )
            else:
                stream = LlamaStream(model, self._pool, context, kept, prompts, room=room, watch=watch)
        except BaseException:
            self._pool.give(context)
            raise
        self._streams.add(stream)
        return stream

    def _context(self, needed: Need, prompts: Sequence[Prompt], reuse: Stream | None) -> tuple[Context, list[Kept]]:
        """A context, and what it holds of each row already."""
        if reuse is None:
            rows = sum(prompt.copies for prompt in prompts)
            return self._pool.take(needed), [Kept(number) for number in range(rows)]
        if isinstance(reuse, LlamaStream):
            return reuse.continue_with(needed, prompts)
        raise UsageError("only a stream of this engine can be reused: open without `reuse`")

    def close(self) -> None:
        self._closed = True
        for stream in list(self._streams):
            stream.close()
        self._pool.close()
        self._model.close()

    def _open(self) -> LlamaModel:
        if self._closed:
            raise UsageError(f"{self.info.model} is closed: load it again")
        return self._model
