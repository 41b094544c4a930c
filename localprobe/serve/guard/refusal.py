"""A refusal before the API sees the request, in the API's own envelope."""

from __future__ import annotations

import msgspec
from starlette.types import Scope, Send

from localprobe.serve.errors import ApiError, envelope

CLOSE = (b"connection", b"close")


async def refuse(error: ApiError, send: Send, *headers: tuple[bytes, bytes]) -> None:
    """Answer a request with an error."""
    body = msgspec.json.encode(envelope(error))
    own = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    size = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(b"content-type", b"application/json"), size, *own, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def values(scope: Scope, name: bytes) -> list[str]:
    """The values of a header, each time that it was sent."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]
