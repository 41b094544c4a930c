"""Connections, which uvicorn alone does not bound: how many there are, how long the head of a request may take, and
how long a client may leave an answer unread."""

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
    head_seconds: ClassVar[float]
    stall_seconds: ClassVar[float]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

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

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._stall)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head)
        _cancel(self._stall)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Give the next request's head its time; one that has arrived is watched by `Bodies` until it is answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._head)
            self._head = None
        elif self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def limited(most: int, head_seconds: float, stall_seconds: float) -> type[Connection]:
    """The protocol of connections of which at most `most` are answered; requests on more are refused (503). The head
    of a request must come within `head_seconds`, and a client must read on within `stall_seconds`."""
    limits = {"most": most, "head_seconds": head_seconds, "stall_seconds": stall_seconds}
    return type("LimitedConnection", (Connection,), limits)


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    error = ApiError(503, "too many connections: try again later", code="too_many_connections", retry_after=1)
    await refuse(error, send, CLOSE)
