"""What happens while an answer is generated: clients go, deadlines pass, the queue is full, the engine dies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from localprobe.fake import FakeEngine
from localprobe.scheduling.job import Limits
from localprobe.serve.settings import Settings
from tests.serve.server import Mortal, Server, serving, wait_for

ASK: Any = [{"role": "user", "content": "Hello"}]
LONG: Any = {"messages": ASK, "seed": 12, "max_tokens": 290}


@pytest.fixture
def slow() -> Iterator[Server]:
    """A server of one row, that draws 100 tokens a second at most."""
    settings = Settings(limits=Limits(rows=1, waiting=1))
    with serving(settings, load=lambda slot: FakeEngine(delay=0.01)) as server:
        yield server


def test_a_client_that_goes_in_mid_answer_cancels_it(slow: Server) -> None:
    scheduler = slow.host.hosted().scheduler
    with slow.http.stream("POST", "/v1/chat/completions", json={**LONG, "stream": True}) as answer:
        lines = answer.iter_lines()
        next(lines)
        wait_for(lambda: scheduler.stats.rows == 1)
    wait_for(lambda: scheduler.stats.cancelled == 1)
    wait_for(lambda: scheduler.stats.rows == 0)


def test_a_client_that_waits_no_longer_for_a_whole_answer_cancels_it(slow: Server) -> None:
    with pytest.raises(httpx.ReadTimeout):
        slow.http.post("/v1/chat/completions", json=LONG, timeout=0.3)
    wait_for(lambda: slow.host.hosted().scheduler.stats.cancelled == 1)


def test_a_client_that_waits_no_longer_for_its_turn_leaves_the_queue(slow: Server) -> None:
    with slow.http.stream("POST", "/v1/chat/completions", json={**LONG, "stream": True}) as first:
        lines = first.iter_lines()  # dropping it would close the connection
        next(lines)
        with pytest.raises(httpx.ReadTimeout):
            slow.http.post("/v1/chat/completions", json={**LONG, "stream": True}, timeout=0.3)
        wait_for(lambda: slow.host.hosted().scheduler.stats.waiting == 0)


def test_a_full_queue_is_429_and_says_when_to_come_again(slow: Server) -> None:
    waiting = threading.Thread(target=lambda: slow.chat(max_tokens=1))
    with slow.http.stream("POST", "/v1/chat/completions", json={**LONG, "stream": True}) as first:
        lines = first.iter_lines()  # dropping it would close the connection
        next(lines)
        waiting.start()
        wait_for(lambda: slow.host.hosted().scheduler.stats.waiting == 1)
        refused = slow.http.post("/v1/chat/completions", json=LONG)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "queue_full"
    waiting.join()


def test_a_deadline_that_passes_before_the_first_token_is_504() -> None:
    with serving(Settings(deadline=0)) as server:
        for stream in (False, True):
            late = server.http.post("/v1/chat/completions", json={**LONG, "stream": stream})
            assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline")


def test_a_deadline_that_passes_later_is_the_last_event() -> None:
    asked = {**LONG, "stream": True}
    with serving(Settings(deadline=0.4), load=lambda slot: FakeEngine(delay=0.02)) as server:
        answer = server.http.post("/v1/chat/completions", json=asked)
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert answer.status_code == 200
    assert json.loads(events[0])["choices"][0]["delta"]["role"] == "assistant"
    assert json.loads(events[-1])["error"]["code"] == "deadline"


def test_a_crash_fails_the_running_answers_and_the_model_is_loaded_again() -> None:
    engines: list[Mortal] = []

    def load(slot: object) -> Mortal:
        engines.append(Mortal(delay=0.01))
        return engines[-1]

    with serving(load=load) as server:
        stream = server.client.chat.completions.create(**LONG, model="fake", stream=True)
        next(iter(stream))
        engines[0].alive = False
        with pytest.raises(openai.APIError, match="the fake engine died") as caught:
            list(stream)
        assert caught.value.code == "engine_crashed"
        wait_for(lambda: len(engines) == 2 and server.host.status()[0])
        assert server.chat()["choices"]


def test_an_error_of_one_request_is_none_of_the_next(slow: Server) -> None:
    assert slow.chat(steering="0.2 nothing")["error"]["param"] == "steering"
    assert slow.chat(max_tokens=2)["choices"]


def test_many_clients_at_once_each_get_their_own_answer(server: Server) -> None:
    alone = [server.chat(f"Question {i}", seed=i)["choices"] for i in range(12)]
    together: dict[int, Any] = {}

    def ask(number: int) -> None:
        together[number] = server.chat(f"Question {number}", seed=number)["choices"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(12)] == alone


def test_a_fault_of_the_server_is_told_without_its_text() -> None:
    class Faulty(FakeEngine):
        def encode(self, text: str, *, template: bool = False) -> Any:
            raise RuntimeError("secret")

    with serving(load=lambda slot: Faulty()) as server:
        answer = server.http.post("/v1/chat/completions", json={"messages": ASK})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
