"""Texts that go on, through OpenAI's own client."""

from __future__ import annotations

import pytest

from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.vectors.vector import Vector
from tests.serve.server import Server

TEXT = "Once upon a time"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


def test_a_text_goes_on_without_a_template(server: Server, model: Model) -> None:
    answer = server.client.completions.create(model="fake", prompt=TEXT, seed=5, max_tokens=20)
    assert answer.choices[0].text == model.answer(TEXT, raw=True, seed=5, tokens=20).text
    assert answer.object == "text_completion"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(TEXT) + 1  # and the BOS


def test_a_stream_is_the_same_text(server: Server, model: Model) -> None:
    chunks = list(server.client.completions.create(model="fake", prompt=TEXT, seed=5, max_tokens=20, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == model.answer(TEXT, raw=True, seed=5, tokens=20).text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_prompts_may_be_ids(server: Server, model: Model) -> None:
    ids = model.ids(TEXT, raw=True).tolist()
    text = server.client.completions.create(model="fake", prompt=TEXT, seed=5, max_tokens=20)
    of_ids = server.client.completions.create(model="fake", prompt=ids, seed=5, max_tokens=20)
    assert of_ids.choices[0].text == text.choices[0].text


def test_several_prompts_have_n_answers_each(server: Server, model: Model) -> None:
    prompts = [TEXT, "The sea", TEXT]
    answer = server.client.completions.create(model="fake", prompt=prompts, seed=5, max_tokens=12, n=2)
    expected = model.answers([prompt for prompt in prompts for _ in range(2)], raw=True, seed=5, tokens=12)
    assert [choice.text for choice in answer.choices] == [each.text for each in expected]
    assert [choice.index for choice in answer.choices] == list(range(6))
    assert len({choice.text for choice in answer.choices}) > 3


def test_log_probabilities_and_the_most_likely_tokens(server: Server, model: Model) -> None:
    answer = server.client.completions.create(model="fake", prompt=TEXT, temperature=0, max_tokens=6, logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.top_logprobs is not None
    for token, logprob, likely in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert max(likely.values()) == pytest.approx(logprob)
        assert token in likely
    assert logprobs.text_offset == [sum(map(len, logprobs.tokens[:i])) for i in range(6)]


def test_offsets_of_a_stream_go_on_from_chunk_to_chunk(server: Server) -> None:
    chunks = server.client.completions.create(
        model="fake", prompt=TEXT, temperature=0, max_tokens=6, logprobs=0, stream=True
    )
    told = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
    offsets = [offset for each in told for offset in each.text_offset or []]
    tokens = [token for each in told for token in each.tokens or []]
    assert offsets == [sum(map(len, tokens[:i])) for i in range(6)]


def test_texts_are_steered_and_scored(server: Server, model: Model, warm: Vector) -> None:
    extra = {"steering": "0.4 warm response", "probes": ["warm"]}
    answer = server.client.completions.create(model="fake", prompt=TEXT, seed=5, max_tokens=8, extra_body=extra)
    expected = model.answer(TEXT, raw=True, seed=5, tokens=8, steer="0.4 warm response")
    assert answer.choices[0].text == expected.text
    assert answer.choices[0].model_extra is not None
    scores = [score["warm"] for score in answer.choices[0].model_extra["localprobe"]["scores"]]
    assert scores == pytest.approx(expected.scores.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "the prompt is empty"),
        ([], "prompt is a text, a list of texts"),
        ([1, "a"], "prompt is a text, a list of texts"),
        ([[]], "the prompt is empty: it has no ids"),
        ([[260]], "id 260 is out of range: fake has 260 ids"),
        ("long " * 200, "the prompt has 1001 tokens, and fake holds 512"),
    ],
)
def test_a_prompt_that_is_none_is_refused(server: Server, prompt: object, said: str) -> None:
    answer = server.http.post("/v1/completions", json={"prompt": prompt})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_request_has_at_most_64_answers(server: Server) -> None:
    answer = server.http.post("/v1/completions", json={"prompt": ["a"] * 9, "n": 8})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "n"
