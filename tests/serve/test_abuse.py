"""Clients that are broken or mean, against a real server process: each gets its refusal, and the server stays well."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest

from tests.serve.process import ASK, LONG, Started, started
from tests.serve.server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
KEY = "the-right-key"
CHAT = "/v1/chat/completions"
CONNECTIONS = 200


@pytest.fixture(scope="module")
def server(own_folders: object) -> Iterator[Started]:
    with started(
        delay=0.0, keys=[KEY], header_timeout=1.0, body_timeout=2.0, connections=CONNECTIONS, allow_upload=True
    ) as running:
        yield running
        assert running.chat().status_code == 200, "it still answers"
        assert KEY not in running.said()


@pytest.fixture(autouse=True)
def no_bug(server: Started) -> Iterator[None]:
    before = len(server.said())
    yield
    said = server.said()[before:]
    assert "Traceback" not in said
    assert '"status":500' not in said


def connect(server: Started) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def head(length: int, *more: str, host: str = "localhost") -> bytes:
    lines = [
        f"POST {CHAT} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_all(connection: socket.socket) -> bytes:
    """What the server says until it closes the connection."""
    said = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            said += piece
    return said


def error(answer: httpx.Response) -> dict[str, Any]:
    told: dict[str, Any] = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert isinstance(told["message"], str)
    return told


class TestBodies:
    def test_a_body_that_stops_gets_408(self, server: Started) -> None:
        with connect(server) as connection:
            connection.sendall(head(100) + b'{"messages"')
            assert read_all(connection).startswith(b"HTTP/1.1 408")

    def test_a_body_that_drips_gets_408(self, server: Started) -> None:
        with connect(server) as connection:
            connection.sendall(head(10_000))
            connection.settimeout(0.2)
            said = b""
            for _ in range(100):
                try:
                    connection.sendall(b" ")
                    said += connection.recv(1 << 16)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if said:
                    break
            assert said.startswith(b"HTTP/1.1 408")

    def test_a_head_that_drips_is_cut_off(self, server: Started) -> None:
        with connect(server) as connection:
            connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n".encode())
            connection.settimeout(0.2)
            closed = False
            for number in range(100):
                try:
                    connection.sendall(f"X-{number}: a\r\n".encode())
                    closed = connection.recv(1 << 16) == b""
                except TimeoutError:
                    continue
                except OSError:
                    closed = True
                if closed:
                    break
            assert closed

    def test_silence_is_cut_off(self, server: Started) -> None:
        with connect(server) as connection:
            assert read_all(connection) == b""

    def test_ten_megabytes_get_413(self, server: Started) -> None:
        answer = server.http.post(CHAT, content=b" " * 10_000_000, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert error(answer)["code"] == "body_too_large"

    def test_ten_megabytes_in_chunks_get_413(self, server: Started) -> None:
        pieces = (b" " * 100_000 for _ in range(100))
        answer = server.http.post(CHAT, content=pieces, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413

    def test_a_head_of_a_megabyte_is_refused(self, server: Started) -> None:
        with connect(server) as connection:
            with suppress(OSError):
                connection.sendall(head(2, f"X-Long: {'a' * (1 << 20)}") + b"{}")
            assert read_all(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")

    def test_what_is_not_http_is_refused(self, server: Started) -> None:
        with connect(server) as connection:
            connection.sendall(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" * 4 + b"\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 400")


class TestRequests:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"{",
            b'{"messages": [{"role": "user", "content": "\xff"}]}',
            b"[" * 500_000,
            b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
            b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        ],
    )
    def test_broken_json_is_refused(self, server: Started, body: bytes) -> None:
        answer = server.http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        error(answer)

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
    @pytest.mark.parametrize("field", ["temperature", "top_p", "seed", "max_tokens"])
    def test_numbers_that_are_none_are_refused(self, server: Started, field: str, number: str) -> None:
        body = f'{{"messages": [{{"role": "user", "content": "a"}}], "{field}": {number}}}'
        answer = server.http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        error(answer)

    @pytest.mark.parametrize(
        "fields",
        [
            {"n": 10**9},
            {"n": 0},
            {"n": -1},
            {"max_tokens": -1},
            {"max_tokens": 0},
            {"max_tokens": 10**400},
            {"temperature": 10**400},
            {"stop": ["a"] * 100},
            {"stop": [""]},
            {"top_logprobs": 10**9, "logprobs": True},
            {"probes": ["x"] * 100_000},
            {"probes": ["x" * 100_000]},
            {"steering": "0.1 x; " * 10_000},
            {"steering": "(" * 10_000},
            {"steering": {"vector": "x"}},
            {"watch": ["x > nan"]},
            {"messages": [{"role": "user", "content": "a"}] * 5000},
            {"messages": [{"role": "user", "content": "a " * 100_000}]},
            {"tempreature": 1},
        ],
    )
    def test_huge_and_senseless_fields_are_refused(self, server: Started, fields: dict[str, Any]) -> None:
        answer = server.chat(**fields)
        assert 400 <= answer.status_code < 500 or fields == {"stop": [""]}
        assert answer.status_code != 429

    @pytest.mark.parametrize(
        "name",
        ["/etc/passwd", "../../secret", "~/x", "x.gguf", "x.safetensors", "..", "a\\b", "a\0b", "file:///etc/passwd"],
    )
    def test_paths_are_no_vectors(self, server: Started, name: str) -> None:
        quoted = '"' + name.replace("\\", "\\\\") + '"'
        for fields in ({"steering": f"0.1 {quoted}"}, {"probes": [quoted]}, {"watch": [f"{quoted} > 1"]}):
            answer = server.chat(**fields)
            assert answer.status_code in (400, 404)
            told = error(answer)["message"]
            assert "No such file" not in told
            assert "root:" not in told

    @pytest.mark.parametrize(
        "target",
        [
            "/v1/vectors/..%2f..%2fetc%2fpasswd",
            "/v1/vectors/../../etc/passwd",
            "/v1/vectors/%00",
            "/v1/models/..%2f..%2fetc%2fpasswd",
            "/%ff%fe",
            "//etc/passwd",
            "/v1//models/",
            "http://evil.example/",
        ],
    )
    def test_paths_in_the_url_lead_nowhere(self, server: Started, target: str) -> None:
        with connect(server) as connection:
            lines = [f"GET {target} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEY}", "Connection: close"]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            said = read_all(connection)
        assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 404", b"HTTP/1.1 307")
        assert b"root:" not in said


class TestStrangers:
    def test_wrong_keys_are_refused(self, server: Started) -> None:
        for key in ("wrong", KEY + "x", KEY[:-1], KEY.upper()):
            answer = server.http.post(CHAT, json=ASK, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == 401
            assert KEY not in answer.text

    def test_foreign_hosts_are_refused(self, server: Started) -> None:
        for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example"):
            answer = server.http.post(CHAT, json=ASK, headers={"Host": host})
            assert (answer.status_code, error(answer)["code"]) == (403, "host_not_allowed")

    def test_foreign_pages_are_refused_before_their_key_is_looked_at(self, server: Started) -> None:
        for kind in ("application/json", "text/plain"):
            headers = {"Origin": "https://evil.example", "Content-Type": kind, "Authorization": "Bearer guess"}
            answer = server.http.post(CHAT, content="{}", headers=headers)
            assert (answer.status_code, error(answer)["code"]) == (403, "origin_not_allowed")

    def test_a_body_of_plain_text_is_refused(self, server: Started) -> None:
        answer = server.http.post(CHAT, content="{}", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415


class TestConnections:
    def test_a_thousand_connections_are_survived(self, server: Started) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
        try:
            self.crowd(server, min(1000, min(hard, 2048) - 300))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def crowd(self, server: Started, count: int) -> None:
        """Open connections that say nothing; then ask on one more."""
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(connect(server))
            with connect(server) as connection:
                with suppress(OSError):
                    connection.sendall(head(2) + b"{}")
                said = read_all(connection)
                assert said == b"" or said.startswith(b"HTTP/1.1 503"), said[:100]
                assert said == b"" or b"too_many_connections" in said
        wait_for(lambda: server.http.get("/health").status_code == 200)

    def test_silent_connections_make_room_in_time(self, server: Started) -> None:
        with ExitStack() as stack:
            for _ in range(CONNECTIONS + 10):
                stack.enter_context(connect(server))
            wait_for(lambda: _status(server) == 200)

    def test_clients_that_go_in_mid_answer_leave_nothing_behind(self, server: Started) -> None:
        for stream in (True, False) * 10:
            with connect(server) as connection:
                body = httpx.Request("POST", server.url, json=LONG | {"stream": stream}).content
                connection.sendall(head(len(body)) + body)
                if stream:
                    connection.recv(1 << 10)
        wait_for(lambda: _rows(server) == 0)

    def test_many_answers_at_once_all_come(self, server: Started) -> None:
        with ThreadPoolExecutor(32) as pool:
            statuses = list(pool.map(lambda _: server.chat().status_code, range(100)))
        assert set(statuses) == {200}


def _status(server: Started) -> int:
    try:
        with httpx.Client(trust_env=False) as client:
            return client.get(f"{server.url}/health").status_code
    except httpx.TransportError:
        return 0


def _rows(server: Started) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    values = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines if "{" in line}
    return values["localprobe_rows"] + values["localprobe_waiting"]
