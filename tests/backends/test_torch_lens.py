"""The logit lens and what a direction writes, against the final norm and head of transformers' own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from localprobe.engine import FloatArray
from localprobe.lens.logit_lens import lens
from localprobe.lens.writing import effects
from localprobe.testing.tiny import tiny_folder
from tests.backends.torch_models import EACH_ARCHITECTURE, load, own_model, own_view, random_ids

NORMS = ("model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm")


def own_logits(model: Any, residuals: FloatArray) -> FloatArray:
    """Logits (..., vocabulary) of residuals (..., width), by hand."""
    norm = next(module for name, module in model.named_modules() if name in NORMS)
    with torch.inference_mode():
        logits = model.get_output_embeddings()(norm(torch.from_numpy(residuals)))
        if cap := getattr(model.config, "final_logit_softcapping", None):
            logits = cap * torch.tanh(logits / cap)
    return np.asarray(logits.float().numpy(), np.float32)


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_each_layer_is_read_by_the_models_own_norm_and_head(architecture: str, tmp_path: Path) -> None:
    folder = tiny_folder(architecture, tmp_path / architecture)
    engine, model = load(folder), own_model(folder)
    (ids,) = random_ids(9)
    found = lens(engine, ids, range(engine.info.layers), top=engine.info.vocabulary)
    hidden, logprobs = own_view(model, ids)  # of each block but the last, and the model's predictions
    logits = own_logits(model, hidden).astype(np.float64)
    middle = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for layer, expected in enumerate([*middle, logprobs]):
        read = np.empty_like(found.logprobs[layer])
        np.put_along_axis(read, found.top[layer], found.logprobs[layer], -1)
        np.testing.assert_allclose(read, expected, atol=2e-3)
    engine.close()


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_an_effect_is_half_the_difference_of_a_direction_and_its_opposite(architecture: str, tmp_path: Path) -> None:
    """For an RMSNorm that is W_U (gamma * d / rms(d)); a LayerNorm's bias and a softcap are the model's own."""
    folder = tiny_folder(architecture, tmp_path / architecture)
    engine, model = load(folder), own_model(folder)
    direction = np.random.default_rng(2).standard_normal(engine.info.width).astype(np.float32)
    (effect,) = effects(engine, [direction])
    long = direction * 100  # an epsilon in the norm must not show
    half = (own_logits(model, long) - own_logits(model, -long)) / 2
    np.testing.assert_allclose(effect, half - half.mean(), atol=2e-3 * np.abs(half).max())
    engine.close()
