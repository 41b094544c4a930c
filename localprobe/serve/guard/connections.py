"""Connections, which uvicorn alone does not bound: how many there are, and how long a request's head may take."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from localprobe.serve.errors import ApiError
from localprobe.serve.guard.refusal import CLOSE, refuse

HEAD = 1 << 15
"""The most bytes of a request's line and headers."""
KEEP_ALIVE = 30
"""Seconds that a connection is kept between two requests: longer than clients keep it, so that none sends a request
just when it is closed."""


class Connection(H11Protocol):
    """One connection. A subclass, made by `limited`, says what it is allowed."""

    most: ClassVar[int]
    seconds: ClassVar[float]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * self.most:  # too many even to be told so
            transport.abort()
            return
        if len(self.connections) > self.most:
            self.app = _crowded
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Give the next request's head its time; one that has arrived is watched by `Bodies` until it is answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.seconds, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


def limited(most: int, seconds: float) -> type[Connection]:
    """The protocol of connections of which there are at most `most`, each with `seconds` for the head of a request.
    Requests on more connections are refused (503)."""
    return type("LimitedConnection", (Connection,), {"most": most, "seconds": seconds})


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    error = ApiError(503, "too many connections: try again later", code="too_many_connections", retry_after=1)
    await refuse(error, send, CLOSE)
