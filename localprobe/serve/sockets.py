"""The sockets that a server listens on."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from localprobe.errors import UsageError
from localprobe.serve.settings import KEY, PORT, Settings, is_loopback

BACKLOG = 1024
_SPARE = 128  # descriptors for all that is no client's connection: the engines' pipes, files, libraries


def bind(settings: Settings) -> list[socket.socket]:
    """Sockets on every address of the settings' host, all on one port. UsageError for a port in use, an address that
    is not this machine's, and one that others can reach while no key is set."""
    sockets: list[socket.socket] = []
    port = settings.port
    try:
        for family, address in _addresses(settings):
            if not settings.keys and not is_loopback(address):
                raise UsageError(
                    f"others can reach {address}, and no key is set: give --api-key-file FILE or {KEY}, or "
                    "listen on 127.0.0.1"
                )
            sockets.append(_listen(family, address, port))
            port = sockets[0].getsockname()[1]
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def url(sockets: list[socket.socket]) -> str:
    """The address of a server for people of this machine."""
    host, port = sockets[0].getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connections(wanted: int) -> int:
    """How many connections may be open, of those wanted: each needs a descriptor, and twice as many are accepted (to
    be refused). Raises this process's limit of descriptors as far as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * wanted + _SPARE
    if soft != resource.RLIM_INFINITY and soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, (soft - _SPARE) // 2))


def _addresses(settings: Settings) -> list[tuple[socket.AddressFamily, str]]:
    host = settings.host.strip("[]")
    try:
        found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"{host!r} is no address of this machine ({error.strerror}): give --host 127.0.0.1") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # With its protocol named, asyncio turns Nagle's algorithm off, which would hold tokens back for 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(BACKLOG)  # so that a port in use shows before a model is loaded
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise UsageError(f"the server cannot listen on {address}, port {port}: {_why(error)}") from error
    return made


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"the port is in use; give another, such as --port {PORT + 1}, or 0 for any"
        case errno.EADDRNOTAVAIL:
            return "it is no address of this machine; give --host 127.0.0.1"
        case errno.EACCES:
            return "ports below 1024 are the administrator's; give --port 8765"
    return error.strerror or str(error)
