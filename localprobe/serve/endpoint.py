"""A route of the API as it is declared: its body, its answer and its errors, from which the OpenAPI document is made.

    Endpoint("POST", "/v1/embeddings", embed, "Pooled residuals of a layer", body=Embed, answer=Embeddings)

The handler gets a `Call` with the decoded body, and returns what it answers: a Struct, JSON values, or a Response.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localprobe.serve.errors import BUG, ApiError, api_error, envelope
from localprobe.serve.host import Host
from localprobe.serve.settings import Settings

T = TypeVar("T")
B_co = TypeVar("B_co", covariant=True)
Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]

_log = logging.getLogger("localprobe.serve")
_PLACE = " - at `$"  # after it, msgspec says where in the body a fault is


@dataclass(frozen=True, slots=True)
class Call(Generic[B_co]):
    """A request on its way through a handler."""

    request: Request
    body: B_co
    """Decoded; None for an endpoint without `body`."""
    host: Host
    settings: Settings

    @property
    def path(self) -> dict[str, str]:
        """The parameters of the path."""
        return self.request.path_params


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route of the API."""

    method: Method
    path: str
    """As starlette writes it; `{name:path}` may hold slashes."""
    handler: Callable[[Call[Any]], Awaitable[Any]]
    summary: str
    body: Any = None
    """The type of a JSON body."""
    takes: tuple[str, ...] = ()
    """Content types of a body that the handler reads itself."""
    answer: Any = None
    """The type of a JSON answer."""
    gives: tuple[str, ...] = ()
    """Content types of its other answers."""
    errors: tuple[int, ...] = ()
    """Statuses of refusals besides those that any request may get."""
    status: int = 200
    admin: bool = False
    """Changes the server: only with a key, or where `Settings.may_administer` says so."""
    open: bool = False
    """Answers without a key."""
    query: tuple[str, ...] = ()
    """Names of optional parameters after the `?`."""

    def route(self) -> Route:
        """The route that starlette serves."""

        async def serve(request: Request) -> Response:
            try:
                return await self._answer(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it
            except Exception as error:
                return failure(error, request)

        return Route(self.path, serve, methods=[self.method], name=f"{self.method} {self.path}")

    async def _answer(self, request: Request) -> Response:
        settings: Settings = request.app.state.settings
        if self.admin and not settings.may_administer:
            raise ApiError(403, "this server is not changed over its API: start it with a key or with --allow-admin")
        body = None if self.body is None else decode(await _json(request), self.body)
        answer = await self.handler(Call(request, body, request.app.state.host, settings))
        if isinstance(answer, Response):
            return answer
        return Response(msgspec.json.encode(answer), self.status, media_type="application/json")


def decode(body: bytes, kind: type[T]) -> T:
    """A JSON body as a type. ApiError 400 that names the field at fault."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(_PLACE)
        raise ApiError(400, _plain(message, place), param=_param(message, place)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="invalid_json") from error


def failure(error: Exception, request: Request) -> Response:
    """The answer to a request that failed; a bug is logged."""
    told = failed(error, f"{request.method} {request.url.path}")
    return JSONResponse(envelope(told), told.status, headers=told.headers)


def failed(error: Exception, what: str) -> ApiError:
    """An error as the client is told of it; a bug is logged, with `what` failed."""
    told = api_error(error)
    if told.code == BUG:
        _log.error("%s failed", what, exc_info=error)
    return told


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):  # what a foreign page may send without asking is not
        raise ApiError(415, f"the body is of type {kind[:80] or 'none'!r}: send JSON, Content-Type: application/json")
    return await request.body()


def _plain(message: str, place: str) -> str:
    at = place.rstrip("`").lstrip(".")
    return f"{at}: {message}" if at and "unknown field" not in message else message


def _param(message: str, place: str) -> str | None:
    """The field that a message of msgspec is about."""
    at = place.rstrip("`").lstrip(".")
    if "field `" in message:
        name = message.partition("field `")[2].partition("`")[0]
        return f"{at}.{name}" if at else name
    return at or None
