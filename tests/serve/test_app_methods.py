"""Which methods a path is said to have."""

from __future__ import annotations

from tests.serve.server import Server


def test_a_method_that_a_path_has_not_is_told_all_that_it_has(server: Server) -> None:
    answer = server.http.put("/v1/models/load")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert "has no PUT" in answer.json()["error"]["message"]
