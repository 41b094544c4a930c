"""kill -9 of the engine's process under load: every open request gets an error, and the next is answered."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.process import LONG, Started, started
from tests.serve.server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
OPEN = 8
PATIENCE = 10.0
"""Seconds; the server promises 2, and a busy machine may be slow."""


def told(server: Started, stream: bool) -> tuple[str, float]:
    """The code of the error that ends an answer, and when it came."""
    body = LONG | {"stream": stream, "n": 2}
    while True:
        if stream:
            with server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
                lines = [line for line in answer.iter_lines() if line]
            last = lines[-1].removeprefix("data: ")
        else:
            last = server.http.post("/v1/chat/completions", json=body).text
        if "[DONE]" not in last and "error" in (said := json.loads(last)):
            return said["error"]["code"], time.monotonic()


def test_a_killed_engine_fails_what_is_open_and_is_loaded_again() -> None:
    with started() as server, ThreadPoolExecutor(OPEN) as pool:
        waiting = [pool.submit(told, server, stream=number % 2 == 0) for number in range(OPEN)]
        wait_for(lambda: _rows(server) >= OPEN)
        (engine,) = server.engines
        killed = time.monotonic()
        engine.kill()
        for each in waiting:
            code, when = each.result(PATIENCE)
            assert code in ("engine_crashed", "model_loading")
            assert when - killed < PATIENCE
        wait_for(server.ready)
        assert server.chat().status_code == 200
        assert server.engines != [engine]
        assert 'localprobe_engine_reloads_total{model="fake"} 1.0' in server.http.get("/metrics").text
        assert "Traceback" not in server.said()


def test_while_it_is_loaded_again_requests_are_told_when_to_come_again() -> None:
    with started() as server:
        server.engines[0].kill()
        wait_for(lambda: not server.ready())
        refused = server.chat()
        if refused.status_code != 200:  # a load may be over by then
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
        wait_for(server.ready)
        assert server.chat().status_code == 200


def _rows(server: Started) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("localprobe_rows{"))
