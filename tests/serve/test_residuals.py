"""Residuals and embeddings over HTTP equal those captured in Python."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from localprobe.capture.residuals import pooled
from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Exchange, Message, render
from localprobe.engine import Row
from localprobe.fake import FakeEngine
from localprobe.serve import capturing
from tests.serve.server import Server

TEXTS = ["A cat sat on a mat.", "Rain", "Nobody answered the door that evening."]
CHAT = [{"role": "user", "content": "Who is there?"}, {"role": "assistant", "content": "Only the wind."}]


def ask(server: Server, **body: Any) -> Any:
    answer = server.http.post("/v1/residuals", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("pooling", ["mean", "mean-without-first", "last"])
def test_pooled_residuals_are_those_of_a_capture(server: Server, engine: FakeEngine, pooling: str) -> None:
    answer = ask(server, input=TEXTS, layers=[1, -1], pooling=pooling)
    assert (answer["layers"], answer["pooling"], answer["width"]) == ([1, 5], pooling, 32)
    found = np.array([each["residuals"] for each in answer["data"]], np.float32)
    np.testing.assert_allclose(found, pooled(engine, TEXTS, [1, 5], pooling), rtol=1e-5, atol=1e-6)
    assert [each["tokens"] for each in answer["data"]] == [len(engine.encode(text)) for text in TEXTS]
    assert answer["data"][0]["ids"] == engine.encode(TEXTS[0]).tolist()


def test_every_token_and_spans(server: Server, engine: FakeEngine) -> None:
    expected = engine.forward([Row(engine.encode(TEXTS[0]))], [2])[0].residuals[0]
    whole = ask(server, input=TEXTS[0], layers=[2], pooling="tokens")["data"][0]["residuals"]
    np.testing.assert_allclose(whole[0], expected, rtol=1e-5, atol=1e-6)
    parts = ask(server, input=TEXTS[0], layers=[2], spans=[[0, 2], [3, 4]])
    assert parts["pooling"] == "spans"
    means = np.stack([expected[:2].mean(0), expected[3]])
    np.testing.assert_allclose(parts["data"][0]["residuals"][0], means, rtol=1e-5, atol=1e-6)


def test_a_chat_is_captured_as_the_model_sees_it(server: Server, engine: FakeEngine) -> None:
    answered = ask(server, input={"messages": CHAT}, layers=[3], pooling="answer")["data"][0]["residuals"]
    expected = pooled(engine, [Exchange("Who is there?", "Only the wind.")], [3], "answer")[0]
    np.testing.assert_allclose(answered, expected, rtol=1e-5, atol=1e-6)
    asked = ask(server, input={"messages": CHAT[:1]}, layers=[3], pooling="last")["data"][0]
    assert asked["ids"] == encode_chat(engine, render(engine.info, [Message("user", "Who is there?")])).tolist()


@pytest.mark.parametrize("pooling", ["mean", "tokens"])
def test_safetensors_is_a_capture_file(server: Server, engine: FakeEngine, tmp_path: Path, pooling: str) -> None:
    body = {"input": TEXTS, "layers": [0, 4], "pooling": pooling, "format": "safetensors"}
    answer = server.http.post("/v1/residuals", json=body)
    assert answer.headers["content-type"] == "application/safetensors"
    (tmp_path / "capture.safetensors").write_bytes(answer.content)
    with safe_open(tmp_path / "capture.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["localprobe"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert (about["layers"], about["origin"]["model"]) == ([0, 4], "fake")
    if pooling == "mean":
        np.testing.assert_allclose(arrays["residuals"], pooled(engine, TEXTS, [0, 4]), rtol=1e-5, atol=1e-6)
    else:
        first = engine.forward([Row(engine.encode(TEXTS[0]))], [0, 4])[0].residuals.swapaxes(0, 1)
        np.testing.assert_allclose(arrays["residuals"][: arrays["offsets"][1]], first, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": "a", "layers": [6]}, "layers"),
        ({"input": "a", "layers": []}, "layers"),
        ({"input": "a", "pooling": "median"}, "pooling"),
        ({"input": "a", "pooling": "answer"}, "pooling"),
        ({"input": "abc", "spans": [[0, 99]]}, "spans"),
        ({"input": "abc", "spans": [[2, 2]]}, "spans"),
        ({"input": "a", "limit": 0}, "limit"),
        ({"input": "x" * 600}, "input"),
        ({"input": {"messages": []}}, "input"),
        ({"input": "a", "colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_captured_is_refused_by_its_field(server: Server, body: dict[str, Any], param: str) -> None:
    answer = server.http.post("/v1/residuals", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert param in (error["param"] or "") or param in error["message"]


def test_more_tokens_than_a_request_may_have_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "MOST", 10)
    answer = server.http.post("/v1/residuals", json={"input": TEXTS, "layers": [1]})
    assert answer.status_code == 413
    assert "a request may have 10" in answer.json()["error"]["message"]


def test_answers_go_on_while_texts_are_captured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "AT_ONCE", 20)
    assert len(ask(server, input=TEXTS * 20, layers="all")["data"]) == 60


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_through_openais_client(server: Server, engine: FakeEngine, form: Any) -> None:
    found = server.client.embeddings.create(model="fake", input=TEXTS, encoding_format=form)
    vectors = [
        np.frombuffer(base64.b64decode(each.embedding), "<f4") if isinstance(each.embedding, str) else each.embedding
        for each in found.data
    ]
    np.testing.assert_allclose(vectors, pooled(engine, TEXTS, [3], "mean-without-first")[:, 0], rtol=1e-5, atol=1e-6)
    assert found.model_extra == {"localprobe": {"layer": 3, "pooling": "mean-without-first"}}
    assert found.usage.prompt_tokens == sum(len(engine.encode(text)) for text in TEXTS)


def test_embeddings_of_the_clients_default_form_and_of_ids(server: Server, engine: FakeEngine) -> None:
    extra = {"layer": -1, "pooling": "last"}
    by_text = server.client.embeddings.create(model="fake", input=TEXTS[0], extra_body=extra)
    by_ids = server.client.embeddings.create(model="fake", input=engine.encode(TEXTS[0]).tolist(), extra_body=extra)
    np.testing.assert_allclose(by_text.data[0].embedding, pooled(engine, TEXTS[:1], [5], "last")[0, 0], rtol=1e-5)
    assert by_ids.data[0].embedding == by_text.data[0].embedding


@pytest.mark.parametrize(
    "body",
    [
        {"input": "a", "dimensions": 4},
        {"input": "a", "layer": 9},
        {"input": [1, 100_000]},
        {"input": ["a", [1]]},
        {"input": [[]]},
        {"input": ["a", ""]},
        {"input": [3] * 600},
    ],
)
def test_embeddings_that_there_cannot_be_are_refused(server: Server, body: dict[str, Any]) -> None:
    answer = server.http.post("/v1/embeddings", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
