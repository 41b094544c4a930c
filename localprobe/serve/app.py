"""The application: all endpoints on one host."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from localprobe.serve import (
    chat,
    completions,
    control_vectors,
    embeddings,
    metrics,
    models,
    openapi,
    page,
    residuals,
    steering,
    turning,
    vectors,
)
from localprobe.serve.capturing import MOST_REQUESTS
from localprobe.serve.endpoint import Endpoint, failure
from localprobe.serve.errors import ApiError, envelope
from localprobe.serve.host import Host
from localprobe.serve.settings import Settings

ENDPOINTS: list[Endpoint] = [
    *models.ENDPOINTS,
    *chat.ENDPOINTS,
    *completions.ENDPOINTS,
    *embeddings.ENDPOINTS,
    *residuals.ENDPOINTS,
    *vectors.ENDPOINTS,
    *steering.ENDPOINTS,
    *turning.ENDPOINTS,
    *control_vectors.ENDPOINTS,
    *metrics.ENDPOINTS,
    *openapi.ENDPOINTS,
    *page.ENDPOINTS,
]
"""All of the API, in the order of the document."""


def create_app(host: Host, settings: Settings) -> Starlette:
    """The application; `host` is started and closed by the caller."""
    host.default = settings.steering
    app = Starlette(
        routes=[endpoint.route() for endpoint in ENDPOINTS],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.state.host, app.state.settings, app.state.endpoints = host, settings, ENDPOINTS
    app.state.metrics = metrics.Metrics(host)
    app.state.sliders = control_vectors.Sliders()
    app.state.capturing = asyncio.Semaphore(MOST_REQUESTS)
    return app


async def _refused(request: Request, error: Any) -> Response:
    """What starlette refuses itself: an unknown path, or a method that a path does not have."""
    path = request.url.path[:200]
    about = {404: f"no {path!r} here: GET /openapi.json lists the API", 405: f"{path!r} has no {request.method}"}
    told = ApiError(error.status_code, about.get(error.status_code, error.detail))
    headers = {"Allow": _allowed(request)} if told.status == 405 else error.headers
    return JSONResponse(envelope(told), told.status, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of a path, which starlette tells of its first endpoint only."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted({method for route in routes for method in route.methods}))


async def _failed(request: Request, error: Exception) -> Response:
    return failure(error, request)
