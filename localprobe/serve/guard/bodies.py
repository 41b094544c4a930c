"""Bodies of requests: not too large, and not too slow."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localprobe.serve.errors import ApiError
from localprobe.serve.guard.refusal import CLOSE, refuse, values
from localprobe.serve.settings import Settings

UPLOADS = "/v1/vectors/"
RATE = 1 << 16
"""Bytes that buy one second more than the time-out: a large body that keeps coming may take longer."""


class Bodies:
    """Refuses bodies that are larger than the settings allow (413), as soon as that is known, and those that do not
    arrive in time (408). The app gets these as the ApiError of a `receive`, and answers it as any other."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._most(scope), self._settings.body_timeout, self._settings.header_timeout)
        if sum(int(size) for size in values(scope, b"content-length") if size.isdecimal()) > body.most:
            await refuse(body.too_large(), send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and body.late:  # nobody will read the rest
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        await self._app(scope, body.receive, answer)

    def _most(self, scope: Scope) -> int:
        settings = self._settings
        uploads = settings.allow_upload and scope["method"] == "PUT" and scope["path"].startswith(UPLOADS)
        return settings.upload if uploads else settings.body


class _Body:
    """The body of one request while it arrives."""

    def __init__(self, receive: Receive, most: int, total: float, idle: float) -> None:
        self.most = most
        self.late = False
        self._receive, self._idle = receive, idle
        self._size = 0
        self._whole = False
        self._until = asyncio.get_running_loop().time() + total

    async def receive(self) -> Message:
        if self._whole:  # what follows is the end of the connection, which may take as long as it likes
            return await self._receive()
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + self._idle, self._until + self._size / RATE)):
                message = await self._receive()
        except TimeoutError:
            self.late = True
            came = f"the body did not arrive in time: {self._size} bytes of it came"
            raise ApiError(408, came, code="body_timeout") from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > self.most:
            raise self.too_large()
        return message

    def too_large(self) -> ApiError:
        return ApiError(413, f"the body is larger than {self.most} bytes", code="body_too_large")
