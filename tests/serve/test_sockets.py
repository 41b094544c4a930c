"""Where a server may listen."""

from __future__ import annotations

import resource
import socket

import pytest

from localprobe.errors import UsageError
from localprobe.serve.settings import Settings
from localprobe.serve.sockets import bind, connections, url


def test_port_0_takes_one_and_names_it() -> None:
    sockets = bind(Settings(port=0))
    try:
        host, port = sockets[0].getsockname()
        assert url(sockets) == f"http://{host}:{port}"
        assert sockets[0].proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on"
        with socket.create_connection((host, port)):
            pass
    finally:
        for each in sockets:
            each.close()


def test_a_name_is_bound_at_all_its_addresses_on_one_port() -> None:
    sockets = bind(Settings(host="localhost", port=0))
    assert len({each.getsockname()[1] for each in sockets}) == 1
    for each in sockets:
        each.close()


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"127.0.0.1, port {port}: the port is in use; give another"):
            bind(Settings(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_addresses_that_others_reach_need_a_key(host: str) -> None:
    with pytest.raises(UsageError, match="no key is set: give --api-key-file FILE or LOCALPROBE_API_KEY, or listen on"):
        bind(Settings(host=host, port=0))


def test_with_a_key_they_are_bound() -> None:
    sockets = bind(Settings(host="0.0.0.0", port=0, keys=("a-key",)))
    assert url(sockets).startswith("http://127.0.0.1:")
    sockets[0].close()


def test_foreign_addresses_are_refused() -> None:
    with pytest.raises(UsageError, match="no address of this machine"):
        bind(Settings(host="192.0.2.1", port=0, keys=("a-key",)))
    with pytest.raises(UsageError, match="'no such host' is no address"):
        bind(Settings(host="no such host", port=0))


def test_there_are_no_more_connections_than_descriptors() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert connections(100) == 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
        assert connections(400) == 400, "the limit is raised"
        assert connections(10**9) == (before[1] - 128) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
