"""localprobe on torch against transformers itself."""

from __future__ import annotations

import json
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer

from benchmarks import torch_linear
from benchmarks.common import LAYER, TOKENS, answer, capture, load
from benchmarks.timing import PROMPT, random_rows
from localprobe import discovery, models


class Clock(BaseStreamer):
    """When each token came: the prompt first, then one call a token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def main() -> None:
    model = load("torch")
    folder = models.resolve("smollm2-135m", discovery.backend("torch")).path
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    # The same arrays for both: where weights lie in memory alone makes one load some per cent slower than another.
    bare.load_state_dict(model.engine._network.head._model.state_dict(), assign=True)
    bare.tie_weights()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = random_rows(16, 64, model.info.vocabulary)
    results = []

    whole = torch.tensor(ids, dtype=torch.long)
    layers, norm = bare.model.layers, bare.model.norm

    def stopped() -> None:
        bare.model.layers, bare.model.norm = layers[: LAYER + 1], torch.nn.Identity()
        with torch.inference_mode():
            bare.model(whole, attention_mask=torch.ones_like(whole), use_cache=False)
        bare.model.layers, bare.model.norm = layers, norm

    what = "torch: capture, against transformers stopped at the layer"
    results += torch_linear.rows(model, what, capture(model, ids), stopped, ids.size, 0.97, rounds=21)

    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )

    def generate() -> float:
        clock = Clock()
        with torch.inference_mode():
            bare.generate(**chat, max_new_tokens=TOKENS, do_sample=True, temperature=0.7, top_k=0, streamer=clock)
        return (clock.times[-1] - clock.times[1]) / (len(clock.times) - 2)

    what = "torch: steered, watched decode, against generate"
    results += torch_linear.rows(model, what, answer(model, PROMPT), generate, 1, 1.0, rounds=13)
    print(json.dumps(results))


main()
