"""Which pages may use the server: a page anywhere can make its visitor's browser send requests to loopback."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from localprobe.serve.guard.origins import Origins
from tests.serve.tiny import tiny

NAMED = "https://notes.example"
HOST = {"Host": "localhost:8765"}


@pytest.fixture
def client() -> TestClient:
    return TestClient(Origins(tiny(), (NAMED + "/",)))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://localhost", "x", ""]
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_foreign_pages_are_refused(client: TestClient, origin: str, kind: str) -> None:
    answer = client.post("/echo", content="{}", headers={**HOST, "Origin": origin, "Content-Type": kind})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_and_programs_are_answered(client: TestClient) -> None:
    assert client.post("/echo", content="{}", headers=HOST).status_code == 200
    assert client.post("/echo", content="{}", headers={**HOST, "Origin": "http://localhost:8765"}).status_code == 200
    assert client.post("/echo", content="{}", headers={**HOST, "Origin": "https://localhost:8765"}).status_code == 200


def test_a_named_origin_is_answered_and_may_read(client: TestClient) -> None:
    answer = client.post("/echo", content="{}", headers={**HOST, "Origin": NAMED})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == NAMED


def test_a_browser_that_asks_first_is_told(client: TestClient) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = client.options("/echo", headers={**HOST, **asks, "Origin": NAMED})
    assert allowed.status_code == 200
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert client.options("/echo", headers={**HOST, **asks, "Origin": "https://evil.example"}).status_code == 403


def test_what_foreign_pages_embed_is_refused_and_links_are_followed(client: TestClient) -> None:
    cross = {**HOST, "Sec-Fetch-Site": "cross-site"}
    assert client.get("/echo", headers={**cross, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert client.get("/", headers={**cross, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client.get("/echo", headers={**HOST, "Sec-Fetch-Site": "same-origin"}).status_code == 200
