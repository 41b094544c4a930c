"""A sweep's generations on torch: 48 rows of mixed alpha, the paper's 200 new tokens, against other ways to them."""

from __future__ import annotations

import json
import statistics
import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from benchmarks.common import LAYER
from benchmarks.sweep_rows import alike, requests
from benchmarks.timing import row
from localprobe import discovery, models
from localprobe.engine import LoadOptions
from localprobe.generation import decode
from localprobe.generation.decode import Request
from localprobe.generation.events import Token
from localprobe.model import Model

ROWS, TOKENS, ROUNDS = 48, 200, 3
THREADS = 1
"""Threads that wait for each other measure whatever else the machine does: a busy core makes two slower than one."""
AT = (1, 100, 199)
"""Tokens of an answer that the loop without a cache is timed on: its passes grow with the answer."""


def main() -> None:
    model = Model.load("smollm2-135m", "torch", LoadOptions(threads=THREADS))
    folder = models.resolve("smollm2-135m", discovery.backend("torch")).path
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    asked = requests(model, ROWS, TOKENS)

    def generated(rows: list[Request]) -> float:
        """Seconds a token, the prompts' prefill included."""
        start, tokens = time.perf_counter(), 0
        for events in decode.steps(model.engine, rows, width=len(rows)):
            tokens += sum(isinstance(event, Token) for event in events)
        return (time.perf_counter() - start) / tokens

    times: dict[str, list[float]] = {"ours": [], "alone": [], "no cache": []}
    for number in range(ROUNDS):  # in turn, so that whatever else the machine does touches all alike
        times["ours"].append(generated(asked))
        times["alone"].append(generated([asked[7 * number]]))
        times["no cache"].append(uncached(bare, asked[7 * number]))
    ours, alone, no_cache = (statistics.median(each) for each in times.values())
    what = f"torch: {ROWS} rows of mixed alpha, {TOKENS} tokens"
    results = [
        row(f"{what}, against one row at a time", ours, alone, 1, "tok/s", 6.0),
        row(f"{what}, against a loop with no cache", ours, no_cache, 1, "tok/s", 100.0),
        alike(model, 1.0),
    ]
    print(json.dumps(results))


def uncached(bare: torch.nn.Module, request: Request) -> float:
    """Seconds a token of transformers with a hook that steers, the whole row run again for every token."""
    delta = torch.tensor(request.steering[0].delta) if request.steering else torch.zeros(bare.config.hidden_size)
    hook = bare.model.layers[LAYER].register_forward_hook(lambda module, inputs, output: output + delta)
    seconds = []
    try:
        for number in AT:
            ids = np.resize(request.ids, len(request.ids) + number)
            start = time.perf_counter()
            with torch.inference_mode():
                logits = bare(torch.tensor(ids[None].astype(np.int64)), use_cache=False).logits[0, -1]
                torch.multinomial(torch.softmax(logits / 0.7, -1), 1)
            seconds.append(time.perf_counter() - start)
    finally:
        hook.remove()
    return statistics.mean(seconds)


main()
