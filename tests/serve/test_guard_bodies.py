"""Bodies that are too large or too slow; they are fed piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from localprobe.serve.guard.bodies import Bodies
from localprobe.serve.settings import Settings
from tests.serve.tiny import tiny

SMALL = Settings(body=100, upload=300, allow_upload=True, header_timeout=0.1, body_timeout=0.3)


def ask(
    pieces: Sequence[bytes], *, path: str = "/echo", method: str = "POST", pause: float = 0.0, whole: bool = True,
    declared: int | None = None, settings: Settings = SMALL,
) -> tuple[int, dict[bytes, bytes], bytes, int]:  # fmt: skip
    """Status, headers and body of the answer to a body in pieces, and how many of them were read. A body that is not
    `whole` ends with the last piece, and nothing follows."""
    read, answered = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        if read == len(pieces):
            await asyncio.sleep(3600)
        await asyncio.sleep(pause)
        read += 1
        return {"type": "http.request", "body": pieces[read - 1], "more_body": not whole or read < len(pieces)}

    async def send(message: Any) -> None:
        answered.append(message)

    headers = [] if declared is None else [(b"content-length", str(declared).encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
    asyncio.run(Bodies(tiny(), settings)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in answered)
    return answered[0]["status"], dict(answered[0]["headers"]), body, read


def code(body: bytes) -> str:
    told: str = json.loads(body)["error"]["code"]
    return told


def test_a_body_within_the_limit_arrives() -> None:
    assert ask([b"a" * 50, b"b" * 50], declared=100)[::2] == (200, b"a" * 50 + b"b" * 50)


def test_a_declared_size_is_refused_before_a_byte_is_read() -> None:
    status, _, body, read = ask([b"a"], declared=101)
    assert (status, code(body), read) == (413, "body_too_large", 0)
    assert "larger than 100 bytes" in json.loads(body)["error"]["message"]


def test_an_undeclared_one_as_soon_as_it_is_too_large() -> None:
    status, _, body, read = ask([b"a" * 60] * 9)
    assert (status, code(body), read) == (413, "body_too_large", 2)


def test_uploads_have_a_limit_of_their_own_where_they_are_allowed() -> None:
    upload: Any = {"path": "/v1/vectors/warm", "method": "PUT"}
    assert ask([b"a" * 250], **upload)[0] == 200
    assert ask([b"a" * 250] * 2, **upload)[0] == 413
    assert ask([b"a" * 250], **upload, settings=Settings(body=100))[0] == 413


def test_a_body_that_stops_gets_408_and_the_connection_is_closed() -> None:
    status, headers, body, _ = ask([b"a" * 10], whole=False)
    assert (status, code(body), headers[b"connection"]) == (408, "body_timeout", b"close")
    assert "10 bytes of it came" in json.loads(body)["error"]["message"]


def test_a_body_that_drips_gets_408_in_the_end() -> None:
    status, _, body, read = ask([b"a"] * 90, pause=0.05)
    assert (status, code(body)) == (408, "body_timeout")
    assert read < 10


def test_waiting_for_the_end_of_the_connection_has_no_limit() -> None:
    async def wait() -> str:
        told = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            if message := next(told, None):
                return message
            await asyncio.sleep(0.4)  # longer than a body may take
            return {"type": "http.disconnect"}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            scope["told"] = (await receive())["type"]

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await Bodies(app, SMALL)(scope, receive, receive)
        return str(scope["told"])

    assert asyncio.run(wait()) == "http.disconnect"
