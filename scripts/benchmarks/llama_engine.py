"""localprobe on llama.cpp against llama.cpp's own pass, and against the stream of llama_cpp.Llama."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
import psutil

from benchmarks.common import LAYER, TOKENS, answer, capture, load
from benchmarks.timing import PROMPT, interleaved, random_rows, row
from localprobe import discovery, models
from localprobe_llama import library

_PROMPT = 24  # tokens before those that are timed: as many as PROMPT in its template has, or about that


class BarePass:
    """A batch through llama.cpp with nothing read: whole, or ended by the callback after a layer."""

    def __init__(self, path: Path, ids: np.ndarray, threads: int) -> None:
        params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        self._stop: bytes | None = None
        self._callback = llama_cpp.ggml_backend_sched_eval_callback(self._met)
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = ids.size
        context.n_seq_max, context.kv_unified, context.flash_attn_type = len(ids), True, 1
        context.n_threads = context.n_threads_batch = threads
        context.cb_eval = self._callback
        self._context = llama_cpp.llama_init_from_model(self._model, context)
        self._batch = _batch(ids)

    def until(self, layer: int | None) -> Callable[[], None]:
        """Run the batch to a layer, or to the end."""

        def run() -> None:
            self._stop = None if layer is None else f"l_out-{layer}".encode()
            llama_cpp.llama_decode(self._context, self._batch)
            llama_cpp.llama_synchronize(self._context)
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

        return run

    def decode(self, tokens: int) -> float:
        """Seconds a token of a decode that does nothing else: no sampler, no text."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        self._stop, start = None, 0.0
        for position in range(_PROMPT + tokens):
            if position == _PROMPT:
                start = time.perf_counter()
            llama_cpp.llama_decode(self._context, _batch(np.array([[100 + position]]), position))
        return (time.perf_counter() - start) / tokens

    def _met(self, tensor: int, ask: bool, _: ctypes.c_void_p) -> bool:
        met = self._stop is not None and library.tensor_name(tensor) == self._stop
        return met if ask else not met


def _batch(ids: np.ndarray, first: int = 0) -> llama_cpp.llama_batch:
    length = ids.shape[1]
    batch = llama_cpp.llama_batch_init(ids.size, 0, 1)
    batch.n_tokens = ids.size
    for i, token in enumerate(ids.ravel().tolist()):
        batch.token[i], batch.pos[i] = token, first + i % length
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, i // length
        batch.logits[i] = i % length == length - 1
    return batch


def main() -> None:
    model = load("llama")
    path = models.resolve("smollm2-135m", discovery.backend("llama")).path
    ids = random_rows(16, 64, model.info.vocabulary)
    threads = psutil.cpu_count(logical=False) or 1  # as many as the engine takes
    bare = BarePass(path, ids, threads)
    results = []

    ours, other = interleaved(capture(model, ids), bare.until(LAYER), rounds=15)
    results.append(
        row("llama.cpp: capture, against its own pass stopped at the layer", ours, other, ids.size, "tok/s", 0.97)
    )
    ours, other = interleaved(capture(model, ids), bare.until(None), rounds=15)
    results.append(
        row(f"llama.cpp: capture at layer {LAYER} of 30, against its whole pass", ours, other, ids.size, "tok/s", 1.75)
    )

    llama = llama_cpp.Llama(str(path), n_ctx=1024, n_threads=threads, flash_attn=True, verbose=False)

    def stream() -> float:
        times = [
            time.perf_counter()
            for part in llama.create_chat_completion(
                [{"role": "user", "content": PROMPT}], stream=True, max_tokens=TOKENS, temperature=0.7, top_k=0
            )
            if "content" in part["choices"][0]["delta"]
        ]
        return (times[-1] - times[0]) / (len(times) - 1)

    ours, other = interleaved(answer(model, PROMPT), stream, rounds=41)
    results.append(row("llama.cpp: steered, watched decode, against Llama's stream", ours, other, 1, "tok/s", 1.05))
    ours, other = interleaved(lambda: bare.decode(TOKENS), stream, rounds=41)
    results.append(
        row("llama.cpp: nothing but its decode, against Llama's stream: the limit", ours, other, 1, "tok/s", None)
    )
    print(json.dumps(results))


main()
