"""One request and its answer, as the access log and the metrics see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
OTHER = "other"
KEPT = 1 << 16
"""The most bytes kept of a body that is logged."""


@dataclass(slots=True)
class Exchange:
    """What is known of a request once it is over. Times are by `time.perf_counter`, in seconds."""

    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    client: str = ""
    method: str = OTHER
    route: str = OTHER
    """The pattern of its path; `OTHER` for a path that the API does not have."""
    status: int = 499
    """499, as nginx says it, for a client that went before the answer began."""
    complete: bool = False
    """Whether the answer was sent to its end."""
    prompt_tokens: int | None = None
    tokens: int = 0
    """Tokens generated."""
    steered: bool | None = None
    """None for a request that generates nothing."""
    first_token: float | None = None
    last_token: float | None = None
    asked: bytes = b""
    """The beginning of the body, where texts are logged."""
    answered: bytes = b""

    def prompted(self, tokens: int, steered: bool) -> None:
        """The prompts are read."""
        self.prompt_tokens, self.steered = tokens, steered

    def generated(self, tokens: int) -> None:
        """Tokens have come."""
        if tokens:
            self.last_token = time.perf_counter()
            self.first_token = self.first_token or self.last_token
            self.tokens += tokens


Sink: TypeAlias = Callable[[Exchange], None]

_current: ContextVar[Exchange] = ContextVar("exchange")


def current() -> Exchange:
    """The exchange that this code runs for; one that nobody sees, outside of a server."""
    return _current.get(None) or Exchange()


class Observed:
    """Tells every exchange to `sinks` once it is over."""

    def __init__(self, app: ASGIApp, sinks: Sequence[Sink], *, texts: bool = False) -> None:
        """`texts` keeps the beginnings of bodies."""
        self._app, self._sinks, self._texts = app, sinks, texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, client = scope["method"], scope.get("client")
        exchange = Exchange(method=method if method in METHODS else OTHER, client=client[0] if client else "")

        async def hear() -> Message:
            message = await receive()
            if self._texts:
                exchange.asked += message.get("body", b"")[: KEPT - len(exchange.asked)]
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            else:
                exchange.complete = not message.get("more_body", False)
                if self._texts:
                    exchange.answered += message.get("body", b"")[: KEPT - len(exchange.answered)]
            await send(message)

        token = _current.set(exchange)
        try:
            await self._app(scope, hear, answer)
        finally:
            _current.reset(token)
            exchange.seconds = time.perf_counter() - exchange.began
            exchange.route = getattr(scope.get("route"), "path", OTHER)
            for sink in self._sinks:
                sink(exchange)
