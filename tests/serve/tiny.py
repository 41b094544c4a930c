"""A tiny application behind guards: it says what reached it."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from localprobe.serve.errors import ApiError, envelope


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def fine(request: Request) -> Response:
    return PlainTextResponse("fine")


async def told(request: Request, error: Any) -> Response:
    return JSONResponse(envelope(error), error.status)


def tiny() -> Starlette:
    return Starlette(
        routes=[
            Route("/", fine),
            Route("/health", fine),
            Route("/echo", echo, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/v1/vectors/{name}", echo, methods=["PUT"]),
        ],
        exception_handlers={ApiError: told},
    )
