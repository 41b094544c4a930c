"""The Host of every request, against DNS rebinding: a foreign name that was made to point at this machine.

A browser sends the name that a page was opened under. An IP address cannot be made to point elsewhere, so a server
that listens on all addresses answers to any; names must be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from localprobe.errors import UsageError
from localprobe.serve.errors import ApiError
from localprobe.serve.guard.refusal import refuse, values
from localprobe.serve.settings import is_loopback
from localprobe.suggest import shown

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)
_SHOWN = 100


class Hosts:
    """Lets in requests to loopback, to the address that the server listens on, and to hosts that were allowed."""

    def __init__(self, app: ASGIApp, bound: str, allowed: Iterable[str] = ()) -> None:
        """`bound` is the address or name that the server listens on; `allowed` are names, with or without a port.
        UsageError for what is none."""
        for name in allowed:
            if not (_HOST.fullmatch(name.strip()) or _is_address(name)):
                raise UsageError(f"--allow-host {shown(name)}: give a name or an address, such as my-server.lan")
        self._app = app
        self._any_address = _is_wildcard(bound)
        self._allowed = {_plain(name) for name in (bound, *allowed)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._known(hosts := values(scope, b"host")):
            host = hosts[0][:_SHOWN] if hosts else ""
            message = f"this server does not answer to the host {host!r}: start it with --allow-host NAME if it should"
            await refuse(ApiError(403, message, code="host_not_allowed"), send)
        else:
            await self._app(scope, receive, send)

    def _known(self, hosts: list[str]) -> bool:
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        host, port = match[1].lower(), match[2]
        if is_loopback(host) or {_plain(host), f"{host}:{port}"} & self._allowed:
            return True
        return self._any_address and _is_address(host)


def _plain(host: str) -> str:
    return host.strip().removeprefix("[").removesuffix("]").lower() if "]:" not in host else host.strip().lower()


def _is_address(host: str) -> bool:
    try:
        ip_address(_plain(host))
    except ValueError:
        return False
    return True


def _is_wildcard(host: str) -> bool:
    return _is_address(host) and ip_address(_plain(host)).is_unspecified
