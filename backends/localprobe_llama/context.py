"""One llama_context: a KV cache, the memory to compute with, and its eval callback."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray, IntArray
from localprobe.errors import EngineError, OutOfMemory
from localprobe.models import fits
from localprobe_llama import library
from localprobe_llama.batch import Batch
from localprobe_llama.callback import Tap, Work
from localprobe_llama.edits import picked
from localprobe_llama.interrupt import Interruptible
from localprobe_llama.model import LlamaModel

MOST_SEQUENCES: int = llama_cpp.llama_max_parallel_sequences()
_FLASH_ATTENTION = 1  # LLAMA_FLASH_ATTN_TYPE_ENABLED


class Context:
    """A KV cache of `cells` tokens in up to `rows` rows. Raises OutOfMemory if it does not fit.

    A pass runs at most `batch` tokens, with logits for at most `outputs` of them.
    """

    def __init__(self, model: LlamaModel, cells: int, rows: int, outputs: int) -> None:
        self.cells, self.rows, self.outputs = cells, rows, outputs
        self.batch = max(model.batch, rows)
        self._model = model
        self._tap = Tap(model.layers, model.width, self._same_graph)
        self._reused = 0
        self._interruptible = Interruptible(self._tap.cut)
        self._batch = Batch(self.batch)
        self._control: dict[int, FloatArray] = {}
        self._logits_at, self._logits = (0, 0), np.empty((0, 0), np.float32)
        self._pointer = _create(model, self, self._tap)
        self._memory = llama_cpp.llama_get_memory(self._pointer)
        self._finalize = weakref.finalize(self, _free, self._pointer, model)

    def decode(
        self,
        tokens: IntArray,
        positions: IntArray,
        sequences: IntArray,
        outputs: NDArray[np.bool_],
        work: Work,
    ) -> None:
        """Run tokens (n,), n at most `batch`; logits are kept of those in `outputs` (n,).

        The top block computes residuals for outputs only, and a reader of its layer gets only these rows; edits
        still count all tokens. If the pass fails or is interrupted, the cache does not hold these tokens.
        """
        batch = self._batch.fill(tokens, positions, sequences, outputs)
        self._tap.begin(_at_outputs(work, self._model.layers - 1, outputs), len(tokens), int(np.count_nonzero(outputs)))
        library.forget_errors()
        try:
            with self._interruptible:
                code: int = llama_cpp.llama_decode(self._pointer, batch)
            self._reused = self._reuses()
            self._check(code, len(tokens))
            self._tap.finish()
        except BaseException:
            for sequence in set(sequences.tolist()):
                self.forget(sequence, int(positions[sequences == sequence].min()))
            raise

    def logits(self, count: int) -> FloatArray:
        """Logits (count, vocabulary) of the outputs of the last pass, in order. Overwritten by the next pass."""
        pointer = llama_cpp.llama_get_logits(self._pointer)
        place = ctypes.addressof(pointer.contents), count
        if place != self._logits_at:  # making an array from a pointer takes longer than a softmax
            self._logits_at = place
            self._logits = np.ctypeslib.as_array(pointer, shape=(count, self._model.vocabulary.size))
        return self._logits

    def control(self, deltas: Mapping[int, FloatArray]) -> None:
        """Add `deltas` (width,), by layer, to every token of every row from now on: llama.cpp's control vector."""
        if deltas.keys() == self._control.keys() and all(
            np.array_equal(delta, self._control[layer]) for layer, delta in deltas.items()
        ):
            return  # a change makes llama.cpp plan its memory again
        width, layers = self._model.width, self._model.layers
        if deltas:
            buffer = np.zeros((layers - 1, width), np.float32)  # starts at layer 1
            for layer, delta in deltas.items():
                buffer[layer - 1] = delta
            pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            size, first, last = buffer.size, min(deltas), max(deltas)
        else:
            pointer, size, first, last = None, 0, -1, -1
        code: int = llama_cpp.llama_set_adapter_cvec(self._pointer, pointer, size, width, first, last)
        if code != 0:
            raise EngineError(_reason("llama.cpp refused a control vector"))
        self._control = {layer: delta.copy() for layer, delta in deltas.items()}

    def clear(self) -> None:
        """Forget all rows."""
        llama_cpp.llama_memory_clear(self._memory, False)

    def forget(self, sequence: int, start: int = 0) -> int:
        """Forget a row's tokens from position `start` on. Returns how many are left: `start`, or 0 for a recurrent
        model, whose state cannot be rewound.
        """
        if llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, -1):
            return start
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return 0

    def share(self, source: int, target: int) -> None:
        """Let row `target` begin with all tokens of row `source`."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def begin(self, source: int, target: int, length: int) -> int:
        """Let row `target` begin with the first `length` tokens of row `source`. Returns what it then has: `length`,
        or 0 if `source` is a recurrent state of more tokens, which cannot be rewound, or if tokens are gone that the
        next one has in its sliding window."""
        self.share(source, target)
        left = self.forget(target, length)
        if left and self._model.window:
            # llama.cpp writes new tokens over those that a row's window has passed, and forgets what lies before them.
            oldest: int = llama_cpp.llama_memory_seq_pos_min(self._memory, target)
            if not 0 <= oldest <= max(0, length + 1 - self._model.window):
                return self.forget(target)
        return left

    def take(self, other: Context, source: int, target: int) -> None:
        """Copy row `source` of another context into row `target`."""
        size: int = llama_cpp.llama_state_seq_get_size(other._pointer, source)
        state = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(other._pointer, state, size, source)
        if not llama_cpp.llama_state_seq_set_data(self._pointer, state, written, target):
            raise EngineError(_reason("llama.cpp could not copy a row of its cache"))

    def close(self) -> None:
        """Free the memory. Closing twice is fine."""
        self._finalize()

    def _same_graph(self) -> bool:
        """Whether the current pass reuses the graph of the previous one, by llama.cpp's counter."""
        return self._reuses() != self._reused

    def _reuses(self) -> int:
        return getattr(llama_cpp.llama_perf_context(self._pointer), "n_reused", 0)

    def _check(self, code: int, tokens: int) -> None:
        if code == 0:
            return
        if code == 1:
            raise OutOfMemory(f"the cache of {self.cells} tokens has no place for {tokens} more")
        if code == -2:
            raise OutOfMemory(_reason(f"llama.cpp has no memory for a pass over {tokens} tokens"))
        raise EngineError(_reason(f"llama.cpp failed to compute (code {code})"))


def _at_outputs(work: Work, top: int, outputs: NDArray[np.bool_]) -> Work:
    """The same work, with edits at the top block indexed by output; without them where they reach no output."""
    if top not in work.edits or outputs.all():
        return work
    below, kept = {b: edits for b, edits in work.edits.items() if b != top}, picked(work.edits[top], outputs)
    return replace(work, edits={**below, top: kept} if kept else below)


def _create(model: LlamaModel, context: Context, tap: Tap) -> Any:
    cells = context.cells
    needed, free = model.context_bytes(cells, context.batch, context.outputs), fits.available()
    refusal = f"a cache of {cells} tokens, and a pass over it, take about {needed / 1e9:.1f} GB"
    if not model.gpu and needed > free:
        # Linux overcommits memory, and kills the process that then uses it.
        raise OutOfMemory(f"{refusal}, and {free / 1e9:.1f} GB are free: use fewer rows or a shorter context")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_seq_max = cells, context.rows
    params.n_batch = params.n_ubatch = context.batch
    params.n_outputs_max = context.outputs  # memory for logits is allocated in advance
    params.n_threads = params.n_threads_batch = model.threads
    params.cb_eval = tap.callback
    params.flash_attn_type = _FLASH_ATTENTION
    params.swa_full = True  # with a sliding-window cache a row could not be shortened
    params.kv_unified = True  # rows stay together and in order in a pass
    params.no_perf = True
    for name, value in model.yarn.items():
        setattr(params, name, value)
    library.forget_errors()
    pointer = None
    try:
        with Interruptible(lambda: None):
            pointer = llama_cpp.llama_init_from_model(model.pointer, params)
    except KeyboardInterrupt:
        if pointer:
            llama_cpp.llama_free(pointer)
        raise
    if not pointer:
        raise OutOfMemory(_reason(f"{refusal}, which llama.cpp could not get: use fewer rows or a shorter context"))
    return pointer


def _free(pointer: Any, _model: LlamaModel) -> None:
    """Free a context. Held by the finalizer, the model cannot be collected before."""
    llama_cpp.llama_free(pointer)


def _reason(what: str) -> str:
    return "; ".join([what, *library.errors()[-2:]])
