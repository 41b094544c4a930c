"""A tiny application behind guards: it says what reached it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from localprobe.serve.errors import ApiError, envelope


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def fine(request: Request) -> Response:
    return PlainTextResponse("fine")


async def endless(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        request.app.state.answering = True
        try:
            while True:
                yield bytes(1 << 16)
                await asyncio.sleep(0)  # to a client that has gone, all is sent at once
        finally:
            request.app.state.answering = False

    return StreamingResponse(pieces())


async def told(request: Request, error: Any) -> Response:
    return JSONResponse(envelope(error), error.status)


def tiny() -> Starlette:
    return Starlette(
        routes=[
            Route("/", fine),
            Route("/health", fine),
            Route("/endless", endless),
            Route("/echo", echo, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/v1/vectors/{name}", echo, methods=["PUT"]),
        ],
        exception_handlers={ApiError: told},
    )
