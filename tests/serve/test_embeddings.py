"""Embeddings through OpenAI's own client: the model's pooled residuals of a layer."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import openai
import pytest

from localprobe.fake import FakeEngine
from localprobe.fake.tokenizer import BOS
from localprobe.fake.transformer import LAYERS, WIDTH
from localprobe.model import Model
from tests.serve.server import Server

TEXTS = ["A short text.", "Another one, which is quite a bit longer than the first.", "Short."]
PATH = "/v1/embeddings"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


def test_an_embedding_is_the_mean_residual_of_the_middle_layer_without_the_first_token(
    server: Server, model: Model
) -> None:
    answer = server.client.embeddings.create(model="fake", input=TEXTS)  # this client asks for base64
    expected = model.pooled(TEXTS, [LAYERS // 2], "mean-without-first")[:, 0]
    np.testing.assert_array_equal(np.array([one.embedding for one in answer.data], dtype=np.float32), expected)
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert (answer.object, answer.model, answer.data[0].object) == ("list", "fake", "embedding")
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(len(text) + 1 for text in TEXTS)
    assert answer.model_extra == {"localprobe": {"layer": LAYERS // 2, "pooling": "mean-without-first"}}


def test_numbers_and_base64_are_the_same_embedding(server: Server, model: Model) -> None:
    numbers, encoded = (
        server.http.post(PATH, json={"input": "Hello", "encoding_format": form}).json()["data"][0]["embedding"]
        for form in ("float", "base64")
    )
    assert np.frombuffer(base64.b64decode(encoded), "<f4").tolist() == numbers
    assert len(numbers) == WIDTH


@pytest.mark.parametrize(("layer", "pooling"), [(0, "mean"), (-1, "last"), (2, "mean-without-first")])
def test_layer_and_pooling_can_be_chosen(server: Server, model: Model, layer: int, pooling: str) -> None:
    answer = server.client.embeddings.create(
        model="fake", input=TEXTS[0], extra_body={"layer": layer, "pooling": pooling}
    )
    expected = model.pooled(TEXTS[:1], [layer], pooling)[0, 0]
    np.testing.assert_array_equal(np.array(answer.data[0].embedding, dtype=np.float32), expected)
    assert answer.model_extra is not None
    assert answer.model_extra["localprobe"] == {"layer": layer % LAYERS, "pooling": pooling}


def test_ids_are_the_text_that_they_stand_for(server: Server) -> None:
    ids = [BOS, *b"Hello"]

    def embedded(given: Any) -> list[list[float]]:
        return [one.embedding for one in server.client.embeddings.create(model="fake", input=given).data]

    of_text = embedded("Hello")
    assert embedded(ids) == of_text
    assert embedded([ids, ids]) == of_text * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dimensions": 8}, f"the model's width, {WIDTH}"),
        ({"layer": 99}, "layer 99 is out of range"),
        ({"pooling": "answer"}, "Invalid enum value 'answer'"),
        ({"input": ""}, "text 1 is empty"),
        ({"input": []}, "length >= 1"),
        ({"input": ["fine", "  "]}, "text 2 is empty"),
        ({"input": ["text", [1, 2]]}, "give one of these"),
        ({"input": [1, "text"]}, "give one of these"),
        ({"input": [300]}, "token id 300 is out of range"),
        ({"input": "a" * 600}, "text 1 has 601 tokens, and fake holds 512"),
        ({"input": [65] * 600}, "600 tokens, but fake has a context of 512"),
        ({"input": ["a"] * 2049}, "2049 inputs: a request may have 2048"),
        ({"inputs": "a typo"}, "unknown field `inputs`"),
    ],
)
def test_what_cannot_be_embedded_is_refused_in_one_line(server: Server, fields: dict[str, Any], message: str) -> None:
    answer = server.http.post(PATH, json={"input": "Hello", **fields})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert message in error["message"]
    assert error["param"].partition("[")[0] == next(iter(fields))


def test_too_many_tokens_are_refused_before_any_is_run(server: Server) -> None:
    answer = server.http.post(PATH, json={"input": ["a" * 500] * 140})
    assert answer.status_code == 413
    assert "send fewer at a time" in answer.json()["error"]["message"]


def test_an_unknown_model_is_not_found(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'other' here"):
        server.client.embeddings.create(model="other", input="Hello")
