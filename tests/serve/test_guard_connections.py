"""Connections that say nothing, never read, or are too many."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from localprobe.serve.guard.connections import limited
from localprobe.serve.settings import Settings
from localprobe.serve.sockets import bind
from tests.serve.server import wait_for
from tests.serve.tiny import tiny

MOST = 4


@pytest.fixture(scope="module")
def app() -> Starlette:
    return tiny()


@pytest.fixture(scope="module")
def address(app: Starlette) -> Iterator[tuple[str, int]]:
    sockets = bind(Settings(port=0))
    protocol = limited(MOST, head_seconds=0.5, stall_seconds=0.2)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    yield sockets[0].getsockname()
    server.should_exit = True
    thread.join()


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    said = b""
    while not said.endswith(end) and (piece := connection.recv(1 << 12)):
        said += piece
    return said


def answers(address: tuple[str, int]) -> bool:
    with connect(address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_come_is_not_waited_for(address: tuple[str, int], head: bytes) -> None:
    with connect(address) as connection:
        connection.sendall(head)
        assert connection.recv(1) == b""


def test_the_next_head_on_a_connection_has_its_time_too(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_until(connection, b"fine").startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HT")
        assert connection.recv(1) == b""


def test_a_connection_may_carry_several_requests(address: tuple[str, int]) -> None:
    with httpx.Client(trust_env=False, base_url="http://{}:{}".format(*address)) as client:
        assert [client.post("/echo", content=text).text for text in "abc"] == ["a", "b", "c"]


def test_a_client_that_does_not_read_is_cut_off(address: tuple[str, int], app: Starlette) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: getattr(app.state, "answering", False))
        wait_for(lambda: not app.state.answering)


def test_more_connections_than_allowed_are_told_so_and_many_more_are_dropped(address: tuple[str, int]) -> None:
    wait_for(lambda: answers(address))
    with ExitStack() as stack:
        made = [stack.enter_context(connect(address)) for _ in range(2 * MOST + 1)]
        for each in (made[MOST], made[-1]):
            with suppress(OSError):
                each.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = read_until(made[MOST], b"}}")
        assert said.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in said
        assert b"too_many_connections" in said
        with suppress(ConnectionResetError):
            assert made[-1].recv(1) == b""
    wait_for(lambda: answers(address))
