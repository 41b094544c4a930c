"""A sweep's generations on llama.cpp, against its own unsteered batched decode with its own sampler."""

from __future__ import annotations

import json
import time
from pathlib import Path

import llama_cpp
import numpy as np

from benchmarks.sweep_rows import alike, requests
from benchmarks.timing import PROMPT, interleaved, row
from localprobe import discovery, models
from localprobe.engine import LoadOptions
from localprobe.generation.decode import Decoding
from localprobe.model import Model

ROWS, TOKENS = 16, 48
THREADS = 1
"""As in `sweep_torch`."""


class BareDecode:
    """Rows of one prompt, decoded and sampled by llama.cpp alone.

    The prompt is run once and shared by all rows, or once for each row, as rows that are steered otherwise need it.
    """

    def __init__(self, path: Path, prompt: np.ndarray, threads: int, *, shared: bool) -> None:
        self._shared = shared
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = ROWS * (len(prompt) + TOKENS + 8)
        context.n_batch = context.n_ubatch = 512
        context.n_seq_max, context.kv_unified, context.flash_attn_type = ROWS, True, 1
        context.n_threads = context.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, context)
        self._prompt = prompt
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)
        self._sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(self._sampler, llama_cpp.llama_sampler_init_temp(0.7))
        llama_cpp.llama_sampler_chain_add(self._sampler, llama_cpp.llama_sampler_init_dist(0))

    def __call__(self) -> float:
        """Seconds a token, without the prefill."""
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_clear(memory, True)
        n = len(self._prompt)
        for sequence in range(1 if self._shared else ROWS):
            self._decode(self._prompt, np.arange(n), np.full(n, sequence), np.arange(n) == n - 1)
        for other in range(1, ROWS if self._shared else 1):
            llama_cpp.llama_memory_seq_cp(memory, 0, other, -1, -1)
        tokens = [llama_cpp.llama_sampler_sample(self._sampler, self._context, -1)] * ROWS
        start = time.perf_counter()
        for step in range(TOKENS):
            self._decode(tokens, np.full(ROWS, n + step), np.arange(ROWS), np.ones(ROWS, bool))
            tokens = [llama_cpp.llama_sampler_sample(self._sampler, self._context, i) for i in range(ROWS)]
        return (time.perf_counter() - start) / (ROWS * TOKENS)

    def _decode(self, tokens: object, positions: np.ndarray, sequences: np.ndarray, outputs: np.ndarray) -> None:
        batch = self._batch
        batch.n_tokens = len(positions)
        for i, token in enumerate(tokens):  # type: ignore[arg-type,var-annotated]
            batch.token[i], batch.pos[i] = int(token), int(positions[i])
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, int(sequences[i])
            batch.logits[i] = bool(outputs[i])
        if llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")


def main() -> None:
    model = Model.load("smollm2-135m", "llama", LoadOptions(threads=THREADS))
    path = models.resolve("smollm2-135m", discovery.backend("llama")).path
    asked = requests(model, ROWS, TOKENS + 1, strengths=ROWS, prompt=PROMPT)  # its prefill is not measured
    shared, apart = (BareDecode(path, asked[0].ids, THREADS, shared=share) for share in (True, False))

    def ours() -> float:
        decoding = Decoding(model.engine, asked)
        try:
            decoding.step()  # the first token needs no pass
            start, tokens = time.perf_counter(), 0
            while not decoding.done:
                tokens += len(decoding.step())
            return (time.perf_counter() - start) / tokens
        finally:
            decoding.close()

    what = f"llama.cpp: {ROWS} rows of {ROWS} alphas, against its own unsteered decode"
    results = [row(what, *interleaved(ours, shared, rounds=5), 1, "tok/s", 0.95)]
    what = "the same, whose rows hold a prompt each too, rather than share one"
    results.append(row(what, *interleaved(ours, apart, rounds=5), 1, "tok/s", None))
    print(json.dumps([*results, alike(model, 0.0)]))


main()
