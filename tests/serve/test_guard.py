"""All guards together: their order, and the door that closes when the server stops."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from localprobe.serve.guard import guarded
from localprobe.serve.settings import Settings
from tests.serve.tiny import tiny

KEY = {"Authorization": "Bearer the-key"}
SETTINGS = Settings(keys=("the-key",), body=100)
LARGE = b"a" * 101


def code(**named: Any) -> str:
    """Why a request with a large body is refused."""
    client = TestClient(guarded(tiny(), SETTINGS), base_url="http://localhost")
    return str(client.post("/echo", content=LARGE, **named).json()["error"]["code"])


def test_strangers_learn_nothing_about_keys_and_without_a_key_nobody_about_bodies() -> None:
    foreign = {"Origin": "https://evil.example"}
    assert code(headers=foreign | {"Host": "evil.example"}) == "host_not_allowed"
    assert code(headers=foreign | KEY) == "origin_not_allowed"
    assert code() == "no_api_key"
    assert code(headers=KEY) == "body_too_large"


def test_a_request_that_passes_them_all_is_answered() -> None:
    client = TestClient(guarded(tiny(), SETTINGS), base_url="http://localhost")
    assert client.post("/echo", content="abc", headers=KEY).text == "abc"


def test_a_closed_door_refuses_all_and_says_why() -> None:
    door = guarded(tiny(), Settings())
    client = TestClient(door, base_url="http://localhost")
    assert client.get("/health").status_code == 200
    door.closed = True
    for path in ("/health", "/echo"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
        assert answer.headers["connection"] == "close"


def test_requests_inside_are_counted() -> None:
    counts = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        counts.append(door.inside)
        await tiny()(scope, receive, send)

    door = guarded(app, Settings())
    client = TestClient(door, base_url="http://localhost")
    client.get("/health")
    client.get("/health")
    assert (counts, door.inside) == ([1, 1], 0)
