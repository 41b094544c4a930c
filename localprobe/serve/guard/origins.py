"""Pages of other origins: what a browser sends for them is refused, unless their origin was named.

A page anywhere on the web may let its visitor's browser send requests to 127.0.0.1. It may not read the answers, but
the requests would be carried out: models loaded, steering changed. Browsers say where such a request comes from.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from localprobe.errors import UsageError
from localprobe.serve.errors import ApiError
from localprobe.serve.guard.refusal import refuse, values
from localprobe.suggest import shown

_METHODS = ("GET", "POST", "PUT", "DELETE")
_HEADERS = ("Authorization", "Content-Type")
_EXPOSED = ("Retry-After",)
_SHOWN = 100
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/*?#@]+/?", re.IGNORECASE)


class Origins:
    """Lets in requests of the server's own pages, of named origins (by CORS), and of programs that are no browsers."""

    def __init__(self, app: ASGIApp, allowed: Collection[str] = ()) -> None:
        """`allowed` are origins as browsers send them: scheme, host, and port unless it is the usual one. UsageError
        for what no browser sends."""
        for origin in allowed:
            if not _ORIGIN.fullmatch(origin):
                told = (
                    f"--allow-origin {shown(origin)}: an origin has a scheme and a host, as http://localhost:3000 does"
                )
                raise UsageError(told)
        self._app = app
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._shared = CORSMiddleware(
            app,
            allow_origins=self._allowed,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            expose_headers=_EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origins = values(scope, b"origin")
        if len(origins) == 1 and origins[0].lower() in self._allowed:
            await self._shared(scope, receive, send)
        elif any(not _own(origin, scope) for origin in origins) or (not origins and _embedded(scope)):
            origin = origins[0][:_SHOWN] if origins else "another site"
            message = f"pages of {origin} may not use this server: start it with --allow-origin ORIGIN if they should"
            await refuse(ApiError(403, message, code="origin_not_allowed"), send)
        else:
            await self._app(scope, receive, send)


def _own(origin: str, scope: Scope) -> bool:
    """Whether it is this server's own, possibly behind a proxy that speaks TLS."""
    scheme, _, host = origin.lower().partition("://")
    return scheme in ("http", "https") and [host] == [each.lower() for each in values(scope, b"host")]


def _embedded(scope: Scope) -> bool:
    """Whether a page of another site embeds what it asks for, as an image or a script; following a link is no such
    case."""
    return values(scope, b"sec-fetch-site") == ["cross-site"] and values(scope, b"sec-fetch-mode") != ["navigate"]
