"""The access log: what a line tells, and what it must not."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from localprobe.serve.exchange import KEPT, Exchange, Observed, current
from localprobe.serve.guard.keys import Keys
from localprobe.serve.log import OneLine, access_log
from tests.serve.tiny import tiny

SECRET = "a secret of mine \u202e\x1b[31m\n"


def logged(*requests: tuple[str, str, dict[str, Any]], texts: bool = False, keys: tuple[str, ...] = ()) -> list[str]:
    lines: list[str] = []
    client = TestClient(Observed(Keys(tiny(), keys), (access_log(lines.append, texts=texts),), texts=texts))
    for method, path, named in requests:
        client.request(method, path, **named)
    return lines


def test_a_line_tells_the_route_and_no_text() -> None:
    lines = logged(("POST", "/echo?q=secret", {"content": SECRET}), ("PUT", "/v1/vectors/my-secret", {}))
    first, second = map(json.loads, lines)
    assert first.pop("time").endswith("Z")
    assert first.pop("ms") >= 0
    assert first == {"client": "testclient", "method": "POST", "route": "/echo", "status": 200}
    assert second["route"] == "/v1/vectors/{name}"
    assert "secret" not in "".join(lines)


def test_unknown_paths_and_methods_are_not_told() -> None:
    lines = logged(("GET", "/my-secret", {}), ("SECRET", "/echo", {}))
    assert [(json.loads(line)["route"], json.loads(line)["method"]) for line in lines] == [
        ("other", "GET"),
        ("/echo", "other"),
    ]
    assert "secret" not in "".join(lines).lower()


def test_keys_are_not_told() -> None:
    headers = {"Authorization": "Bearer wrong-key"}
    lines = logged(("GET", "/echo", {"headers": headers}), keys=("right-key",), texts=True)
    assert json.loads(lines[0])["status"] == 401
    assert "wrong-key" not in lines[0]
    assert "right-key" not in lines[0]


def test_texts_are_told_where_that_is_asked_for_and_cannot_act_on_a_terminal() -> None:
    lines = logged(("POST", "/echo", {"content": SECRET}), texts=True)
    line = json.loads(lines[0])
    assert line["asked"] == line["answered"] == SECRET
    assert lines[0].isascii()
    assert lines[0].isprintable()


def test_of_long_texts_the_beginning_is_told() -> None:
    line = json.loads(logged(("POST", "/echo", {"content": b"a" * (KEPT + 9)}), texts=True)[0])
    assert len(line["asked"]) == KEPT


def test_good_answers_about_health_are_left_out() -> None:
    assert not logged(("GET", "/health", {}))


def test_tokens_and_steering_are_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = current()
        exchange.prompted(31, steered=True)
        exchange.generated(0)
        exchange.generated(3)
        exchange.generated(2)
        await Response("ok")(scope, receive, send)

    seen: list[Exchange] = []
    lines: list[str] = []
    TestClient(Observed(app, (seen.append, access_log(lines.append)))).get("/")
    line = json.loads(lines[0])
    assert (line["prompt_tokens"], line["tokens"], line["steered"]) == (31, 5, True)
    exchange = seen[0]
    assert exchange.first_token is not None
    assert exchange.last_token is not None
    assert exchange.began < exchange.first_token < exchange.last_token


def test_an_answer_that_breaks_off_is_told() -> None:
    async def pieces() -> Any:
        yield b"a"
        raise RuntimeError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(pieces())(scope, receive, send)

    lines: list[str] = []
    with pytest.raises(RuntimeError):
        TestClient(Observed(app, (access_log(lines.append),))).get("/")
    assert json.loads(lines[0])["broken_off"] is True


def test_outside_of_a_server_there_is_an_exchange_too() -> None:
    current().generated(3)
    assert current().tokens == 0


def test_a_record_is_one_line_and_a_bugs_traceback_is_below() -> None:
    try:
        raise ValueError("bad \x1b[31m")
    except ValueError as error:
        record = logging.LogRecord("localprobe", logging.ERROR, "", 0, "it\nfailed", None, (type(error), error, None))
    first, *rest = OneLine().format(record).splitlines()
    assert first == "localprobe serve: it\u240afailed"
    assert rest == ["ValueError: bad \u241b[31m"]


def test_the_request_is_unchanged() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Response(await Request(scope, receive).body())(scope, receive, send)

    assert TestClient(Observed(app, ())).post("/", content="abc").text == "abc"
