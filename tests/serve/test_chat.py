"""Chats through OpenAI's own client: answers, streams, seeds, stop strings, log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import openai
import pytest

from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.vectors.vector import Vector
from tests.serve.server import LAYER, Server

ASK: Any = [{"role": "user", "content": "What do you do?"}]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


def test_an_answer_is_what_the_model_says_with_the_same_seed(server: Server, model: Model) -> None:
    answer = server.client.chat.completions.create(model="fake", messages=ASK, seed=5, max_completion_tokens=20)
    expected = model.answer("What do you do?", seed=5, tokens=20)
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20
    assert answer.usage.prompt_tokens == len(model.ids("What do you do?"))
    assert answer.object == "chat.completion"


def test_a_stream_is_the_same_answer_in_pieces(server: Server) -> None:
    asked: Any = {"model": "fake", "messages": ASK, "seed": 5, "max_tokens": 20}
    whole = server.client.chat.completions.create(**asked)
    chunks = list(server.client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20
    assert {c.id for c in chunks} == {chunks[0].id}


def test_without_a_seed_the_draws_differ_by_request(server: Server) -> None:
    texts = {server.chat("Hello", max_tokens=30)["choices"][0]["message"]["content"] for _ in range(4)}
    assert len(texts) > 1


def test_each_of_n_answers_has_its_own_draws(server: Server, model: Model) -> None:
    answer = server.client.chat.completions.create(model="fake", messages=ASK, seed=5, max_tokens=20, n=3)
    expected = model.answers(["What do you do?"] * 3, seed=5, tokens=20)
    assert [choice.message.content for choice in answer.choices] == [each.text for each in expected]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def test_a_stop_string_ends_the_answer_and_is_no_part_of_it(server: Server, model: Model) -> None:
    text = model.answer("What do you do?", seed=5, tokens=40).text
    stop = text[10:12]
    answer = server.client.chat.completions.create(model="fake", messages=ASK, seed=5, max_tokens=40, stop=[stop])
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_temperature_0_takes_the_most_likely_token(server: Server) -> None:
    answer = server.client.chat.completions.create(
        model="fake", messages=ASK, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 8
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob)
        assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob


def test_log_probabilities_are_those_of_the_model(server: Server, model: Model) -> None:
    answer = server.client.chat.completions.create(model="fake", messages=ASK, seed=5, max_tokens=10, logprobs=True)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    expected = model.answer("What do you do?", seed=5, tokens=10)
    assert [token.logprob for token in logprobs.content] == pytest.approx(expected.logprobs.tolist())
    for token, number in zip(logprobs.content, expected.ids.tolist(), strict=True):
        assert token.token == model.engine.decode([number])
        assert token.bytes is None or bytes(token.bytes).decode() == token.token


def test_parts_and_developer_messages_are_texts(server: Server) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    whole = server.chat("Hello", seed=5)
    assert server.chat(seed=5, messages=[{"role": "user", "content": parts}])["choices"] == whole["choices"]
    asked = {"role": "user", "content": "Hello"}
    system = server.chat(seed=5, messages=[{"role": "system", "content": "Be brief."}, asked])
    developer = server.chat(seed=5, messages=[{"role": "developer", "content": "Be brief."}, asked])
    assert developer["choices"] == system["choices"] != whole["choices"]


def test_steering_and_scores_are_those_of_the_model(server: Server, model: Model, warm: Vector) -> None:
    answer = server.client.chat.completions.create(
        model="fake",
        messages=ASK,
        seed=5,
        max_tokens=10,
        extra_body={"steering": "0.4 warm", "probes": ["warm", "warm@1"]},
    )
    expected = model.answer("What do you do?", seed=5, tokens=10, steer="0.4 warm")
    choice = answer.choices[0]
    assert choice.message.content == expected.text
    assert choice.model_extra is not None
    scores = choice.model_extra["localprobe"]["scores"]
    assert [score["token"] for score in scores] == list(range(10))
    assert [score["warm"] for score in scores] == pytest.approx(expected.scores.tolist(), abs=1e-4)
    assert all(np.isfinite(score["warm@1"]) for score in scores)
    assert answer.model_extra is not None
    applied = answer.model_extra["localprobe"]
    assert applied["steering"] == "0.4 warm"
    assert applied["terms"][0]["layer"] == LAYER
    assert applied["terms"][0]["dose"] == pytest.approx(0.4)


def test_streamed_scores_join_their_tokens_by_number(server: Server, warm: Vector) -> None:
    asked: Any = {"model": "fake", "messages": ASK, "seed": 5, "max_tokens": 10}
    extra = {"steering": [{"vector": "warm", "dose": 0.4, "positions": "response"}], "probes": ["warm"]}
    whole = server.client.chat.completions.create(**asked, extra_body=extra)
    chunks = list(server.client.chat.completions.create(**asked, extra_body=extra, stream=True))
    told = [s for c in chunks if c.choices[0].model_extra for s in c.choices[0].model_extra["localprobe"]["scores"]]
    assert whole.choices[0].model_extra is not None
    assert told == whole.choices[0].model_extra["localprobe"]["scores"]
    first = chunks[0].model_extra
    assert first is not None
    assert first["localprobe"]["steering"] == "0.4 warm response"
    assert not any(c.model_extra for c in chunks[1:])


def test_gates_and_alerts_are_told(server: Server, model: Model, warm: Vector) -> None:
    extra = {"steering": "0.4 warm if warm > -1000 when brief > 0", "watch": ["warm > 0"]}
    answer = server.chat("What do you do?", seed=5, max_tokens=10, **extra)
    expected = model.answer(
        "What do you do?", seed=5, tokens=10, steer=extra["steering"], watch=warm, alarms=["warm > 0"]
    )
    told = answer["choices"][0]["localprobe"]
    assert [(g["token"], g["gate"], g["open"]) for g in told["gates"]] == [
        (gate.index, gate.gate, gate.open) for gate in expected.gates
    ]
    assert [(a["token"], a["probe"]) for a in told["alerts"]] == [(a.index, a.probe) for a in expected.alerts]
    assert expected.gates[0].gate == "if warm > -1000"
    assert expected.alerts


def test_the_default_steering_is_taken_where_a_request_names_none(server: Server, warm: Vector) -> None:
    steered = server.chat(seed=5, steering="0.5 warm")
    server.host.default = "0.5 warm"
    try:
        assert server.chat(seed=5)["choices"] == steered["choices"]
        assert server.chat(seed=5, steering=False)["localprobe"]["steering"] == ""
        assert server.chat(seed=5, steering="")["choices"] != steered["choices"]
    finally:
        server.host.default = ""


def test_an_unsteered_answer_says_so(server: Server) -> None:
    answer = server.chat()
    assert answer["localprobe"] == {"steering": ""}
    assert "localprobe" not in answer["choices"][0]


def test_a_shared_prompt_is_taken_from_the_cache(server: Server) -> None:
    text = "A long question about many things. " * 3
    server.chat(text)
    usage = server.chat(text)["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0


def test_an_answer_is_sent_back_as_it_came(server: Server, warm: Vector) -> None:
    first = server.client.chat.completions.create(
        model="fake", messages=ASK, seed=5, max_tokens=8, extra_body={"probes": ["warm"]}
    )
    said: Any = first.choices[0].message
    messages: Any = [*ASK, said, {"role": "user", "content": "More"}]
    again = server.client.chat.completions.create(model="fake", messages=messages, seed=5, max_tokens=8)
    plain = [*ASK, {"role": "assistant", "content": said.content}, {"role": "user", "content": "More"}]
    expected = server.chat(messages=plain, seed=5, max_tokens=8)["choices"][0]["message"]
    assert again.choices[0].message.content == expected["content"]


def test_an_unknown_model_is_not_found(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9' here, but fake") as caught:
        server.client.chat.completions.create(model="gpt-9", messages=ASK)
    assert caught.value.code == "model_not_found"


def test_samplers_at_their_limits_draw(server: Server) -> None:
    coldest = server.chat(temperature=1e-300, max_tokens=5)["choices"][0]["message"]
    assert coldest == server.chat(temperature=0, max_tokens=5)["choices"][0]["message"]
    assert server.chat(temperature=100, top_k=2**31 - 1, top_p=1e-300, min_p=1)["choices"]


def test_an_answer_that_is_null_is_an_empty_one(server: Server) -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}, {"role": "user", "content": "b"}]
    empty = [*said[:1], {"role": "assistant", "content": ""}, *said[2:]]
    assert server.chat(messages=said, seed=5)["choices"] == server.chat(messages=empty, seed=5)["choices"]


def test_two_names_of_one_projection_have_the_same_scores(server: Server, warm: Vector) -> None:
    told = server.chat(seed=5, probes=["warm", f"warm@{LAYER}"])["choices"][0]["localprobe"]["scores"]
    assert len(told) == 12
    assert all(score["warm"] == score[f"warm@{LAYER}"] for score in told)
