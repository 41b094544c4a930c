"""Residuals over HTTP are those of a capture, in JSON and in a capture file, and answers go on meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load

from localprobe.chat_template import Exchange
from localprobe.engine import Output, Row
from localprobe.fake import FakeEngine
from localprobe.fake.transformer import LAYERS, WIDTH
from localprobe.model import Model
from localprobe.serve import capturing, residuals
from localprobe.serve.settings import Settings
from tests.serve.server import Server, serving, wait_for

PATH = "/v1/residuals"
TEXTS = ["A short text.", "Another one, which is quite a bit longer than the first.", "Short."]
EXCHANGE = Exchange("What do you do?", "I listen.", "Be kind.")
CHAT = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What do you do?"},
        {"role": "assistant", "content": "I listen."},
    ]
}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


def asked(server: Server, given: Any, **fields: Any) -> Any:
    """The JSON answer to an input."""
    return server.http.post(PATH, json={"input": given, **fields}).json()


def numbers(answer: Any, text: int = 0) -> NDArray[np.float32]:
    return np.array(answer["data"][text]["residuals"], dtype=np.float32)


def every(model: Model, text: Any) -> NDArray[np.float32]:
    """Residuals of a text at every token, (layers, tokens, width)."""
    return next(iter(model.capture([text], pooling="tokens"))).residuals


@pytest.mark.parametrize("pooling", ["mean", "mean-without-first", "last"])
def test_pooled_residuals_are_those_of_the_model(server: Server, model: Model, pooling: str) -> None:
    answer = asked(server, TEXTS, layers=[1, -1], pooling=pooling)
    expected = model.pooled(TEXTS, [1, -1], pooling)
    np.testing.assert_array_equal(np.stack([numbers(answer, text) for text in range(3)]), expected)
    about = {name: answer[name] for name in ("object", "model", "weights", "layers", "pooling", "width")}
    assert about == {
        "object": "residuals",
        "model": "fake",
        "weights": model.info.weights,
        "layers": [1, LAYERS - 1],
        "pooling": pooling,
        "width": WIDTH,
    }
    assert [one["index"] for one in answer["data"]] == [0, 1, 2]
    assert [one["tokens"] for one in answer["data"]] == [len(text) + 1 for text in TEXTS]


def test_a_text_alone_has_all_layers_by_default(server: Server, model: Model) -> None:
    answer = asked(server, TEXTS[0])
    np.testing.assert_array_equal(numbers(answer), model.pooled(TEXTS[:1])[0])
    assert answer["data"][0]["ids"] == model.engine.encode(TEXTS[0]).tolist()


def test_every_token_has_residuals_if_nothing_is_pooled(server: Server, model: Model) -> None:
    answer = asked(server, TEXTS[:2], pooling="tokens")
    for index, text in enumerate(TEXTS[:2]):
        np.testing.assert_array_equal(numbers(answer, index), every(model, text))


def test_spans_are_means_over_their_tokens(server: Server, model: Model) -> None:
    answer = asked(server, TEXTS[:2], layers=[2], spans=[[0, 1], [3, 7]])
    for index, text in enumerate(TEXTS[:2]):
        tokens = every(model, text)[2]
        expected = np.stack([tokens[0], tokens[3:7].mean(0)])[None]
        np.testing.assert_allclose(numbers(answer, index), expected, rtol=1e-5, atol=1e-6)
    assert answer["pooling"] == "spans"


def test_an_answer_in_a_chat_is_an_exchange(server: Server, model: Model) -> None:
    answer = asked(server, CHAT, pooling="answer")
    np.testing.assert_array_equal(numbers(answer), model.pooled([EXCHANGE], pooling="answer")[0])


def test_of_a_longer_chat_the_last_answer_counts(server: Server) -> None:
    longer = {
        "messages": [*CHAT["messages"], {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Yes."}]
    }
    whole = asked(server, longer, pooling="tokens", layers=[3])
    answer = asked(server, longer, pooling="answer", layers=[3])
    text = bytes(token for token in whole["data"][0]["ids"] if token < 256).decode()
    assert text.endswith("And?\nassistant\nYes.")
    np.testing.assert_allclose(numbers(answer)[0], numbers(whole)[0, -4:].mean(0), rtol=1e-5, atol=1e-6)


def test_a_chat_that_ends_with_a_question_is_captured_up_to_the_answer(server: Server, model: Model) -> None:
    chat = {"messages": [{"role": "user", "content": "What do you do?"}]}
    ids = model.ids("What do you do?")
    answer = asked(server, chat, pooling="last")
    assert answer["data"][0]["ids"] == ids.tolist()
    row = model.engine.forward([Row(ids)], list(range(LAYERS)))[0].residuals
    np.testing.assert_array_equal(numbers(answer), row[:, -1])


def test_longer_texts_are_cut_to_a_limit_that_is_asked_for(server: Server, model: Model) -> None:
    answer = asked(server, TEXTS[:1], limit=5, layers=[0])
    np.testing.assert_array_equal(numbers(answer), model.pooled(TEXTS[:1], [0], limit=5)[0])
    assert (answer["data"][0]["tokens"], answer["data"][0]["cut"]) == (5, True)


def file(server: Server, given: Any, **fields: Any) -> tuple[dict[str, NDArray[Any]], Any]:
    """The tensors and the metadata of an answer as safetensors."""
    answer = server.http.post(PATH, json={"input": given, "format": "safetensors", **fields})
    assert answer.headers["content-type"] == "application/safetensors"
    size = int.from_bytes(answer.content[:8], "little")
    return load(answer.content), json.loads(json.loads(answer.content[8 : 8 + size])["__metadata__"]["localprobe"])


def test_a_file_of_pooled_residuals_is_a_capture_file(server: Server, model: Model) -> None:
    tensors, about = file(server, TEXTS, layers=[1, 4])
    np.testing.assert_array_equal(tensors["residuals"], model.pooled(TEXTS, [1, 4]))
    assert tensors["tokens"].tolist() == [len(text) + 1 for text in TEXTS]
    assert (about["layers"], about["cut"], about["origin"]["pooling"]) == ([1, 4], 0, "mean")
    assert (about["origin"]["model"], about["origin"]["weights"]) == ("fake", model.info.weights)
    assert "offsets" not in tensors
    cut, about = file(server, TEXTS, limit=20)
    assert (cut["cut"].tolist(), about["cut"]) == ([0, 1, 0], 1)


@pytest.mark.parametrize("fields", [{"pooling": "tokens"}, {"spans": [[0, 2], [1, 3], [2, 7]]}])
def test_a_file_says_which_rows_are_whose(server: Server, fields: dict[str, Any]) -> None:
    tensors, about = file(server, TEXTS, **fields)
    answer = asked(server, TEXTS, **fields)
    ends = np.cumsum(tensors["tokens"])
    for index in range(len(TEXTS)):
        start, stop = tensors["offsets"][index : index + 2]
        np.testing.assert_array_equal(tensors["residuals"][start:stop].swapaxes(0, 1), numbers(answer, index))
        own = tensors["ids"][ends[index] - tensors["tokens"][index] : ends[index]]
        assert own.tolist() == answer["data"][index]["ids"]
    assert about["origin"]["pooling"] == fields.get("pooling", "spans")


@pytest.mark.parametrize(
    ("given", "fields", "message", "param"),
    [
        ("Hello", {"layers": [6]}, "layer 6 is out of range: fake has layers 0 to 5", "layers"),
        ("Hello", {"layers": []}, "length >= 1", "layers"),
        ("Hello", {"pooling": "median"}, "Invalid enum value 'median'", "pooling"),
        ("Hello", {"pooling": "answer"}, "needs answers within a chat", "pooling"),
        ("Hello", {"spans": [[2, 9]]}, "the span [2, 9) ends after the 6 tokens of text 1", "spans"),
        ("Hello", {"spans": [[2, 2]]}, "the span [2, 2) holds none", "spans"),
        ("Hello", {"spans": [[-1, 2]]}, "Expected `int` >= 0", "spans"),
        ("Hello", {"spans": [[1, 2, 3]]}, "length <= 2", "spans"),
        ("Hello", {"format": "pickle"}, "Invalid enum value 'pickle'", "format"),
        (["Hello", ""], {}, "text 2 is empty", "input"),
        ("a" * 600, {}, "601 tokens, and fake holds 512", "input"),
        ({"messages": []}, {}, "a chat has no messages", "input"),
        ({"messages": [{"role": "tool", "content": "x"}]}, {}, "Invalid enum value 'tool'", "input"),
        ({"text": "Hello"}, {}, "unknown field `text`", "input"),
        ("half \ud800", {}, "", None),
    ],
)
def test_what_cannot_be_captured_is_refused_in_one_line(
    server: Server, given: Any, fields: dict[str, Any], message: str, param: str | None
) -> None:
    body = json.dumps({"input": given, **fields})
    answer = server.http.post(PATH, content=body, headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert message in error["message"]
    assert (error["param"] or "").partition("[")[0].partition(".")[0] == (param or "")


def test_an_answer_that_would_be_too_large_is_refused_before_it_is_captured(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(residuals.MOST, "json", 7 * WIDTH)
    allowed = asked(server, "Hello!", layers=[0], pooling="tokens")
    assert len(allowed["data"][0]["residuals"][0]) == 7
    refused = server.http.post(PATH, json={"input": "Hello!!", "layers": [0], "pooling": "tokens"})
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "answer_too_large"
    assert "or for safetensors" in refused.json()["error"]["message"]


class Watched(FakeEngine):
    """Records the lengths of the rows of every pass, each of which takes `delay` seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[list[int]] = []
        self.delay = 0.0

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        self.passes.append([len(row.ids) for row in rows])
        time.sleep(self.delay)
        return super().forward(rows, layers)


@pytest.fixture
def watched() -> Iterator[tuple[Server, Watched]]:
    engine = Watched()
    with serving(Settings(deadline=0.3), load=lambda slot: engine) as running:
        yield running, engine


def test_texts_are_captured_a_few_tokens_at_a_time(
    watched: tuple[Server, Watched], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, engine = watched
    monkeypatch.setattr(capturing, "AT_ONCE", 40)
    texts = ["a" * n for n in (9, 30, 9, 60, 19, 9)]
    answer = asked(server, texts, layers=[2])
    np.testing.assert_array_equal(np.stack([numbers(answer, n) for n in range(6)]), model.pooled(texts, [2]))
    assert engine.passes == [[61], [31], [20, 10], [10, 10]]


def test_a_request_that_takes_too_long_is_given_up(
    watched: tuple[Server, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, engine = watched
    monkeypatch.setattr(capturing, "AT_ONCE", 1)
    engine.delay = 0.1
    answer = server.http.post(PATH, json={"input": ["Hello"] * 50})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
    assert len(engine.passes) < 50
    engine.delay = 0.0
    assert "data" in asked(server, "Hello")


def test_a_client_that_goes_is_captured_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Watched()
    monkeypatch.setattr(capturing, "AT_ONCE", 1)
    with serving(load=lambda slot: engine) as server:
        engine.delay = 0.02
        with pytest.raises(httpx.ReadTimeout):
            server.http.post(PATH, json={"input": ["Hello"] * 400}, timeout=0.1)
        wait_for(lambda: server.host.hosted().idle)
        assert len(engine.passes) < 400
