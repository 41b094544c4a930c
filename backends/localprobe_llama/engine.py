"""The engine's verbs over one loaded model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from localprobe.batches import apart
from localprobe.checks import check_sides
from localprobe.engine import Info, IntArray, Output, Prompt, Row, Stream, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe_llama.context import MOST_SEQUENCES
from localprobe_llama.forward import forward
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Pool
from localprobe_llama.stream import Held, LlamaStream, need


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
    ) -> LlamaStream:
        model = self._open()
        check_sides(self.info, prompts)
        needed = need(model, prompts, room, watch)
        if needed.rows > MOST_SEQUENCES:
            raise OutOfMemory(f"llama.cpp decodes at most {MOST_SEQUENCES} rows at once, not {needed.rows}: use fewer")
        if reuse is None:
            context, held = self._pool.take(needed), [Held(number) for number in range(needed.rows)]
        elif isinstance(reuse, LlamaStream):
            context, held = reuse.continue_with(needed, prompts)
        else:
            raise UsageError("only a stream of this engine can be reused: open without `reuse`")
        try:
            stream = LlamaStream(model, self._pool, context, held, prompts, room=room, watch=watch)
        except BaseException:
            self._pool.give(context)
            raise
        self._streams.add(stream)
        return stream

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
