"""localprobe on MLX against mlx-lm itself."""

from __future__ import annotations

import json
import time

import mlx.core as mx
from mlx_lm import load as load_mlx
from mlx_lm import stream_generate
from mlx_lm.sample_utils import make_sampler

from benchmarks.common import LAYER, TOKENS, answer, capture, load
from benchmarks.timing import PROMPT, interleaved, random_rows, row
from localprobe import discovery, models


def main() -> None:
    model = load("mlx")
    folder = models.resolve("smollm2-135m", discovery.backend("mlx")).path
    bare, tokenizer = load_mlx(str(folder))
    # The same arrays for both: where weights lie in memory alone makes one load up to 7 % slower than another.
    bare.update(model.engine._network._model.parameters())
    ids = random_rows(16, 64, model.info.vocabulary)
    results = []

    whole = mx.array(ids)
    layers, norm = bare.model.layers, bare.model.norm

    def stopped() -> None:
        bare.model.layers, bare.model.norm = layers[: LAYER + 1], lambda h: h
        mx.eval(bare.model(whole))
        bare.model.layers, bare.model.norm = layers, norm

    ours, other = interleaved(capture(model, ids), stopped, rounds=21)
    results.append(row("mlx: capture, against mlx-lm stopped at the layer", ours, other, ids.size, "tok/s", 0.97))

    prompt = tokenizer.apply_chat_template([{"role": "user", "content": PROMPT}], add_generation_prompt=True)

    def generate() -> float:
        times = [
            time.perf_counter()
            for _ in stream_generate(bare, tokenizer, prompt, max_tokens=TOKENS, sampler=make_sampler(temp=0.7))
        ]
        return (times[-1] - times[0]) / (len(times) - 1)

    ours, other = interleaved(answer(model, PROMPT), generate, rounds=13)
    results.append(row("mlx: steered, watched decode, against stream_generate", ours, other, 1, "tok/s", 0.95))
    print(json.dumps(results))


main()
