"""The logit lens of SmolLM2-135M on the three engines, and what a direction writes, against the weights themselves."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from localprobe.engine import FloatArray, Row
from localprobe.lens.writing import effects
from localprobe.model import Model
from tests.bundled import smollm2
from tests.real.conftest import ENGINES

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

TEXT = "The capital of France is"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_layer_is_the_models_prediction(models: dict[str, Model], engine: str) -> None:
    model = models[engine]
    found = model.lens(TEXT, layers=[-1])
    full = model.engine.forward([Row(found.ids, full=tuple(range(len(found.ids))))])[0].full
    np.testing.assert_allclose(np.take_along_axis(full, found.top[0], -1), found.logprobs[0], atol=1e-3)
    assert found.texts[int(found.top[0, -1, 0])] == " Paris"


def test_the_engines_see_the_same_in_the_middle(models: dict[str, Model]) -> None:
    found = [model.lens(TEXT, layers=[10, 20]) for model in models.values()]
    for other in found[1:]:
        likely, expected = np.exp(other.following[:, :-1]), np.exp(found[0].following[:, :-1])
        np.testing.assert_allclose(likely, expected, atol=0.05)  # llama.cpp rounds activations to 8 bits
        assert (other.top[:, :, 0] == found[0].top[:, :, 0]).mean() >= 0.8


@pytest.fixture(scope="module")
def weights() -> tuple[FloatArray, FloatArray]:
    """The unembedding (vocabulary, width), which is the embedding, and the final norm's gamma (width,)."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(smollm2()).tensors}
    head, gamma = (tensors[name] for name in ("token_embd.weight", "output_norm.weight"))
    return gguf.dequantize(head.data, head.tensor_type), gguf.dequantize(gamma.data, gamma.tensor_type)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_effect_is_the_unembedding_of_the_normed_direction(
    models: dict[str, Model], weights: tuple[FloatArray, FloatArray], engine: str
) -> None:
    head, gamma = weights
    direction = np.random.default_rng(0).standard_normal(head.shape[1]).astype(np.float32)
    logits = head @ (gamma * direction / np.sqrt(np.square(direction).mean()))
    expected = logits - logits.mean()
    (effect,) = effects(models[engine].engine, [direction])
    tolerance = 0.02 if engine == "llama" else 1e-3  # llama.cpp rounds activations of the head to 8 bits
    np.testing.assert_allclose(effect, expected, atol=tolerance * np.abs(expected).max())
