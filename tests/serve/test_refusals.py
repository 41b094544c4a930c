"""What is refused, with which status, and the field that is named."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from localprobe.serve.settings import Settings
from tests.serve.server import Server, serving

ASK: Any = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "auto"),
        ("functions", [{}]),
        ("response_format", {"type": "json_object"}),
        ("logit_bias", {"5": 1}),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("audio", {"voice": "x"}),
        ("modalities", ["text", "audio"]),
        ("prediction", {"type": "content"}),
        ("reasoning_effort", "low"),
    ],
)
def test_what_would_change_the_answer_is_refused(server: Server, field: str, value: object) -> None:
    answer = server.http.post("/v1/chat/completions", json={"messages": ASK, field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("field", "value"), [("echo", True), ("suffix", "x"), ("best_of", 2)])
def test_what_completions_cannot_do_is_refused(server: Server, field: str, value: object) -> None:
    answer = server.http.post("/v1/completions", json={"prompt": "a", field: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_what_changes_nothing_is_accepted(server: Server) -> None:
    asked = {"user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True}
    neutral = {
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "presence_penalty": 0,
        "n": None,
    }
    assert "choices" in server.chat(max_tokens=1, logit_bias={}, modalities=["text"], **asked, **neutral)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": -1}, "temperature"),
        ({"n": 9}, "n"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": 0}, "top_p"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"seed": 10**40}, "seed"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "long " * 200}]}, "messages"),
        ({"messages": ASK, "steering": '0.2 warm on "missing"'}, "steering"),
        ({"steering": "0.2 nothing"}, "steering"),
        ({"steering": "0.2"}, "steering"),
        ({"steering": True}, "steering"),
        ({"steering": [{"vector": "warm", "dos": 1}]}, "steering[0].dos"),
        ({"steering": [{"vector": "warm"}]}, "steering"),
        ({"steering": [{"vector": "warm", "dose": 1, "alpha": 1}]}, "steering"),
        ({"steering": [{"vector": "warm", "dose": 1, "positions": "response; ablate warm"}]}, "steering"),
        ({"steering": "; ".join(["0.01 warm"] * 65)}, "steering"),
        ({"probes": ["nothing"]}, "probes"),
        ({"probes": ["warm > 1"]}, "probes"),
        ({"probes": ["warm@99"]}, "probes"),
        ({"watch": ["warm > fpr 0.01"]}, "watch"),  # it is not calibrated
        ({"watch": ["warm >"]}, "watch"),
    ],
)
def test_a_wrong_field_is_named(server: Server, fields: dict[str, Any], param: str) -> None:
    answer = server.http.post("/v1/chat/completions", json={"messages": ASK, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "name", ["../warm", "/etc/passwd", "~/x", "warm.gguf", "warm.safetensors", "a\\b", ".hidden", "x.NPZ"]
)
@pytest.mark.parametrize("where", ["steering", "probes", "watch", "condition", "part"])
def test_a_path_is_never_opened(server: Server, name: str, where: str) -> None:
    quoted = json.dumps(name)
    fields: dict[str, Any] = {
        "steering": {"steering": f"0.2 {quoted}"},
        "probes": {"probes": [quoted]},
        "watch": {"watch": [f"{quoted} > 1"]},
        "condition": {"steering": f"0.2 warm when {quoted} > 1"},
        "part": {"steering": [{"vector": name, "dose": 0.2}]},
    }[where]
    answer = server.http.post("/v1/chat/completions", json={"messages": ASK, **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "vector_name"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"messages": NaN}',
        b'{"messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "a"}], "temperature": Infinity}',
        b'{"messages": [{"role": "user", "content": "a"}], "temperature": 1e999}',
        b'{"messages": [{"role": "user", "content": "a"}], "metadata": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_no_json_of_ours_is_refused(server: Server, body: bytes) -> None:
    answer = server.http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_not_said_to_be_json_is_refused(server: Server) -> None:
    answer = server.http.post(
        "/v1/chat/completions", content=b'{"messages": []}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 415


def test_what_does_not_exist_is_said_in_the_same_envelope(server: Server) -> None:
    unknown, method = server.http.get("/v2/nothing"), server.http.get("/v1/chat/completions")
    assert (unknown.status_code, method.status_code) == (404, 405)
    assert "GET /openapi.json lists the API" in unknown.json()["error"]["message"]
    assert method.headers["allow"] == "POST"


def test_openais_client_raises_its_own_errors(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="no vector 'worm' in the library; did you mean 'warm'") as caught:
        server.client.chat.completions.create(model="fake", messages=ASK, extra_body={"steering": "0.2 worm"})
    assert caught.value.param == "steering"


def test_the_limits_of_the_settings_hold(warm: object) -> None:
    with serving(Settings(max_tokens=3, default_tokens=2, terms=1, messages=1)) as server:
        assert server.chat(max_tokens=10, temperature=0)["usage"]["completion_tokens"] == 3
        body: dict[str, Any] = {"messages": ASK, "temperature": 0}
        answer = server.http.post("/v1/chat/completions", json=body)
        assert answer.json()["usage"]["completion_tokens"] == 2
        two = server.http.post("/v1/chat/completions", json={"messages": ASK, "steering": "0.1 warm; 0.1 brief"})
        assert "more than the 1 terms" in two.json()["error"]["message"]
        assert server.http.post("/v1/chat/completions", json={"messages": ASK * 2}).status_code == 400
