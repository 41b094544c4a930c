"""Models that the tests of the torch engine load: tiny ones of any architecture, and transformers' own view of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from localprobe.engine import FloatArray, IntArray, LoadOptions, Weights
from localprobe.testing.tiny import ARCHITECTURES, tiny_folder
from localprobe_torch import backend
from localprobe_torch.engine import TorchEngine

EACH_ARCHITECTURE = [
    name if name in ("llama", "gemma3_text") else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES
]
"""All of them, of which the fast tests take a plain one, and one with norms, windows and scales of its own."""

VOCABULARY = 385
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}


def load(folder: Path, **options: Any) -> TorchEngine:
    options.setdefault("threads", 1)
    return backend.load(Weights(folder.name, folder, "folder", "a hash"), LoadOptions(**options))


def write_folder(config: Any, folder: Path) -> Path:
    """A random model of any config of transformers, with the tokenizer of the tiny Llama."""
    torch.manual_seed(0)
    with torch.inference_mode():
        model = transformers.AutoModel if config.is_encoder_decoder else transformers.AutoModelForCausalLM
        made = model.from_config(config)
        for weight in made.parameters():
            if weight.ndim > 1:  # transformers starts so near to zero that every token would be alike
                weight.mul_(4)
    made.save_pretrained(folder)
    source = tiny_folder("llama", folder / "tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(source / name, folder / name)
    shutil.rmtree(source)
    return folder


def random_ids(*lengths: int) -> list[IntArray]:
    random = np.random.default_rng(0)
    return [random.integers(5, 380, length).astype(np.int32) for length in lengths]


def own_view(model: Any, ids: IntArray) -> tuple[FloatArray, FloatArray]:
    """What transformers gives for one text alone: the hidden states after each block but the last, (layers - 1, n,
    width), and the log-probabilities (n, vocabulary)."""
    with torch.inference_mode():
        output = model(input_ids=_tensor(ids), output_hidden_states=True)
    logprobs = torch.log_softmax(output.logits[0].float(), -1).numpy()
    return torch.stack(output.hidden_states[1:-1])[:, 0].float().numpy(), logprobs


def own_greedy(model: Any, ids: IntArray, count: int) -> list[int]:
    """What transformers generates, end tokens not minded."""
    model.generation_config.eos_token_id = None
    with torch.inference_mode():
        output = model.generate(_tensor(ids), max_new_tokens=count, do_sample=False, pad_token_id=0)
    answer: NDArray[np.int64] = output[0, len(ids) :].numpy()
    return [int(token) for token in answer]


def own_model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _tensor(ids: IntArray) -> torch.Tensor:
    return torch.from_numpy(ids.astype(np.int64))[None]
