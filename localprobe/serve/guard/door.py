"""The door: counts the requests inside, and lets none in once the server is stopping."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from localprobe.serve.errors import ApiError
from localprobe.serve.guard.refusal import CLOSE, refuse


class Door:
    """Used on the event loop only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.inside = 0
        """Requests that are being answered."""
        self.closed = False
        """Whether new requests, those for /health too, are refused with 503."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self.closed:
            error = ApiError(503, "this server is stopping: send the request to another", code="stopping")
            await refuse(error, send, CLOSE)
        else:
            self.inside += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self.inside -= 1
