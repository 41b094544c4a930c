"""SmolLM2-135M on the torch engine against transformers run directly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from localprobe import models
from localprobe.engine import LoadOptions, Prompt, Row, Sampler
from localprobe.engines import canary
from localprobe.testing.texts import TEXTS
from localprobe_torch import backend
from localprobe_torch.engine import TorchEngine
from tests.backends.torch_models import own_greedy, own_model, own_view

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[TorchEngine, Any]]:
    weights = models.resolve("smollm2-135m", backend)
    engine = backend.load(weights, LoadOptions(threads=1))
    yield engine, own_model(weights.path)
    engine.close()


def test_residuals_and_logprobs_of_a_batch_are_those_of_each_text_alone(both: tuple[TorchEngine, Any]) -> None:
    engine, model = both
    ids = [engine.encode(text) for text in TEXTS]
    outputs = engine.forward([Row(row, full=tuple(range(len(row)))) for row in ids], range(29))
    for row, output in zip(ids, outputs, strict=True):
        hidden, logprobs = own_view(model, row)
        distance = np.linalg.norm(output.residuals - hidden, axis=-1) / np.linalg.norm(hidden, axis=-1)
        assert distance.max() < 1e-4
        np.testing.assert_allclose(output.full, logprobs, atol=2e-3)


def test_greedy_answers_are_what_transformers_generates(both: tuple[TorchEngine, Any]) -> None:
    engine, model = both
    turn = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    prompts = [engine.encode(turn.format(text), template=True) for text in TEXTS[:2]]
    stream = engine.open([Prompt(ids, sampler=Sampler(temperature=0)) for ids in prompts], room=12)
    answers = np.stack([stream.step(np.zeros(2)).ids for _ in range(12)])
    for row, ids in enumerate(prompts):
        assert answers[:, row].tolist() == own_greedy(model, ids, 12)


def test_the_canary_lives(both: tuple[TorchEngine, Any]) -> None:
    assert [check.name for check in canary.run(both[0]) if not check.passed] == []


def test_ids_are_those_of_transformers(both: tuple[TorchEngine, Any]) -> None:
    from transformers import AutoTokenizer

    engine, model = both
    tokenizer = AutoTokenizer.from_pretrained(model.config._name_or_path)
    for text in TEXTS:
        assert engine.encode(text).tolist() == tokenizer.encode(text)
        assert engine.decode(engine.encode(text)) == text
