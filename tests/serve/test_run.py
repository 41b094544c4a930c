"""A server's life, in a process of its own: it listens, stops gracefully, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess

import httpx
import psutil
import pytest

from tests.serve.process import ASK, LONG, Started, started
from tests.serve.server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("signals_heard")]
PATIENCE = 20


def ended(server: Started) -> int:
    """The exit status."""
    return server.process.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_its_engine(number: signal.Signals) -> None:
    with started() as server:
        engines = server.engines
        assert len(engines) == 1
        assert server.chat().status_code == 200
        server.process.send_signal(number)
        assert ended(server) == 0
        assert not psutil.wait_procs(engines, timeout=PATIENCE)[1]
        assert "Traceback" not in server.said()


def test_a_signal_while_the_model_is_being_loaded_ends_it_too() -> None:
    with started(ready=False) as server:
        wait_for(lambda: bool(server.engines))
        engines = server.engines
        server.process.send_signal(signal.SIGTERM)
        assert ended(server) == 0
        assert not psutil.wait_procs(engines, timeout=PATIENCE)[1]


def test_running_answers_end_and_new_ones_are_refused() -> None:
    with started(delay=0.02) as server:
        with server.http.stream("POST", "/v1/chat/completions", json={**LONG, "max_tokens": 60}) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: httpx.get(f"{server.url}/health", trust_env=False).status_code == 503)
            refused = httpx.post(f"{server.url}/v1/chat/completions", json=ASK, trust_env=False)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "stopping"
            chunks = [line for line in lines if line]
        assert chunks[-1] == "data: [DONE]"
        assert json.loads(chunks[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert ended(server) == 0


def test_answers_that_take_longer_than_the_grace_are_told_so() -> None:
    with started(delay=0.05, grace=0.3) as server:
        with server.http.stream("POST", "/v1/chat/completions", json=LONG) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            last = [line for line in lines if line][-1]
        assert json.loads(last.removeprefix("data: "))["error"]["message"]
        assert ended(server) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_it_at_once(second: signal.Signals) -> None:
    with (
        started(delay=0.05, grace=600.0) as server,
        server.http.stream("POST", "/v1/chat/completions", json=LONG) as answer,
    ):
        lines = answer.iter_lines()  # kept: the connection is closed with it
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{server.url}/health", trust_env=False).status_code == 503)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        server.process.send_signal(second)
        assert ended(server) == 0


def test_a_signal_that_it_is_told_to_ignore_is_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does; the process inherits it
    with started(delay=0.0) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.chat().status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert ended(server) == 0
