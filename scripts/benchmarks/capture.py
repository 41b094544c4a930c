"""Capture on torch against what people use today: steering-vectors, repeng, and one text and one layer a pass.

All get the same texts, batch size and layers, and the same model in float32. What ours does by itself it does here too:
it fills batches by length. Peers take texts in the order they come. Those that are not installed are named as absent;
they come with `pip install --no-deps steering-vectors repeng`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from benchmarks import torch_linear
from benchmarks.common import load
from localprobe import discovery, models
from localprobe.batches import by_length
from localprobe.capture.residuals import capture
from localprobe.contrast.pairs import PAIR_SETS, read_pairs

BATCH = 16
LAYERS = [8, 12, 16]
PAPER_LAYERS = [8, 12, 16, 20, 24]


def main() -> None:
    texts = [text for pair in read_pairs(PAIR_SETS.path("empathy"))[:24] for text in (pair.positive, pair.negative)]
    ours = load("torch")
    folder = models.resolve("smollm2-135m", discovery.backend("torch")).path
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "right"
    tokens = sum(len(ours.engine.encode(text)) for text in texts)
    what = f"layers {', '.join(map(str, LAYERS))}, batches of {BATCH}"
    results: list[dict[str, Any]] = []
    for name, module, peer in (
        ("steering-vectors", "steering_vectors", with_steering_vectors),
        ("repeng", "repeng", with_repeng),
    ):
        if find_spec(module) is None:
            results.append({"absent": f"{name} (pip install --no-deps {name})"})
            continue
        run = peer(bare, tokenizer, texts)
        measure = f"torch: capture, {what}, against {name}"
        mine = partial(batched, ours.engine, texts, LAYERS)
        results += torch_linear.rows(ours, measure, mine, run, tokens, 2.1, rounds=3)
    few = texts[:4]
    tokens = sum(len(ours.engine.encode(text)) for text in few)
    measure = "torch: capture, layers 8 to 24, against one text and one layer a pass"
    mine, theirs = partial(batched, ours.engine, few, PAPER_LAYERS), one_by_one(bare, tokenizer, few)
    results += torch_linear.rows(ours, measure, mine, theirs, tokens, 8, rounds=3)
    print(json.dumps(results))


def batched(engine: Any, texts: list[str], layers: list[int]) -> None:
    """Ours, in batches of the peers' size, cut as `localprobe.batches` cuts them."""
    for batch in by_length([len(engine.encode(text)) for text in texts], rows=BATCH):
        for _ in capture(engine, [texts[i] for i in batch], layers):
            pass


def with_steering_vectors(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Callable[[], None]:
    """Record the blocks' outputs over whole passes, then the mean over each text's tokens."""
    from steering_vectors import record_activations

    def run() -> None:
        for at in range(0, len(texts), BATCH):
            batch = tokenizer(texts[at : at + BATCH], padding=True, return_tensors="pt")
            with torch.no_grad(), record_activations(model, layer_nums=LAYERS) as recorded:
                model(**batch)
            mask = batch["attention_mask"].unsqueeze(-1)
            for layer in LAYERS:
                ((recorded[layer][0] * mask).sum(dim=1) / mask.sum(dim=1)).numpy()

    return run


def with_repeng(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Callable[[], None]:
    """Its own batched capture, of each text's last token."""
    if not hasattr(np, "float_"):
        np.float_ = np.float64  # type: ignore[attr-defined]  # repeng 0.4.0 was written for NumPy 1
    from repeng import extract

    extract.tqdm.tqdm = lambda batches: batches

    def run() -> None:
        extract.batched_get_hiddens(model, tokenizer, texts, LAYERS, BATCH)

    return run


def one_by_one(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Callable[[], None]:
    """A whole pass for each text and layer, as the paper's description has it."""

    def run() -> None:
        for layer in PAPER_LAYERS:
            for text in texts:
                with torch.no_grad():
                    out = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                out.hidden_states[layer + 1][0].mean(dim=0).numpy()

    return run


sys.exit(main())
