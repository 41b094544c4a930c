"""5,000 requests of every kind leave no memory and no descriptors behind."""

from __future__ import annotations

import socket

import httpx
import numpy as np
import psutil
import pytest

from tests.serve.process import ASK, Started, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CHAT = "/v1/chat/completions"
REQUESTS = 5000
ROUND = 250
WARM_UP = 4
"""Rounds before memory is looked at: caches and the allocator's arenas fill first."""


def test_5000_requests_leave_nothing_behind() -> None:
    with started(delay=0.0) as server:
        process = psutil.Process(server.process.pid)
        sizes, descriptors = [], []
        for _ in range(REQUESTS // ROUND):
            for number in range(ROUND):
                ask(server, number)
            sizes.append(process.memory_info().rss)
            descriptors.append(process.num_fds())
        per_round = np.polyfit(np.arange(len(sizes) - WARM_UP), sizes[WARM_UP:], 1)[0]
        per_request = per_round / ROUND
        assert per_request < 500, f"{per_request:.0f} bytes a request: {[size >> 10 for size in sizes]} KiB"
        assert max(descriptors[WARM_UP:]) <= max(descriptors[:WARM_UP]) + 2, descriptors
        assert "Traceback" not in server.said()


def ask(server: Started, number: int) -> None:
    """A request whose kind depends on its number."""
    match number % 10:
        case 0:
            assert server.http.get(f"/v1/models/{number}").status_code == 404
        case 1:
            assert server.chat(temperature=-1).status_code == 400
        case 2:
            body = {**ASK, "max_tokens": 3, "stream": True}
            with server.http.stream("POST", CHAT, json=body) as answer:
                assert answer.read().endswith(b"data: [DONE]\n\n")
        case 3:
            leave_in_mid_answer(server)
        case 4:
            headers = {"Origin": "https://evil.example"}
            assert server.http.post(CHAT, json=ASK, headers=headers).status_code == 403
        case 5:
            assert server.http.get("/metrics").status_code == 200
        case _:
            text = f"Number {number}"
            assert server.chat(messages=[{"role": "user", "content": text}], max_tokens=2).status_code == 200


def leave_in_mid_answer(server: Started) -> None:
    body = httpx.Request("POST", server.url, json={**ASK, "max_tokens": 50, "stream": True}).content
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert connection.recv(12) == b"HTTP/1.1 200"
