"""The steering of an answer, changed while it is streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from localprobe.engine import Engine, Sampler
from localprobe.fake import FakeEngine
from localprobe.serve.completions import encode_prompt
from localprobe.serve.errors import ApiError
from localprobe.serve.generate import Answering, Order
from localprobe.serve.hosted import Slot
from localprobe.serve.resolve import Wanted
from localprobe.vectors.vector import Vector
from tests.serve.server import Server, serving

ASK = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 60, "stream": True, "temperature": 0}


def slow(slot: Slot) -> Engine:
    """Tokens come one by one, and no answer ends by itself."""
    engine = FakeEngine(slot.spec.name, delay=0.01)
    engine.info = replace(engine.info, eos=())
    return engine


@pytest.fixture(scope="module")
def slowly(warm: Vector) -> Iterator[Server]:
    with serving(load=slow) as server:
        yield server


def test_it_acts_from_the_token_that_is_told(slowly: Server, warm: Vector) -> None:
    before = text(slowly, "")
    with slowly.http.stream("POST", "/v1/chat/completions", json={**ASK, "return_token_ids": True}) as answer:
        lines = answer.iter_lines()
        chunks = list(islice(events(lines), 8))
        turned = slowly.http.post(f"/v1/answers/{chunks[0]['id']}/steering", json={"steering": "2 warm"})
        told = turned.json()
        chunks += events(lines)
    ids = [token for chunk in chunks for choice in chunk["choices"] for token in choice.get("token_ids", [])]
    assert told["localprobe"]["steering"] == "2 warm"
    assert 8 <= told["token"] < 60
    assert len(ids) == 60
    assert ids[: told["token"]] == before[: told["token"]]
    assert ids[told["token"] :] != before[told["token"] :]


@pytest.mark.parametrize(
    ("steering", "status", "words"),
    [("2 nothing", 400, "no vector"), ("2 warm @99", 400, "layer 99"), ("2", 400, "column"), (True, 400, "how")],
)
def test_what_cannot_be_done_is_refused_and_the_answer_goes_on(
    slowly: Server, steering: object, status: int, words: str
) -> None:
    with slowly.http.stream("POST", "/v1/chat/completions", json=ASK) as answer:
        lines = answer.iter_lines()
        first = next(events(lines))
        refused = slowly.http.post(f"/v1/answers/{first['id']}/steering", json={"steering": steering})
        assert refused.status_code == status
        assert words in refused.json()["error"]["message"]
        assert list(events(lines))[-1]["choices"][0]["finish_reason"] == "length"


def test_an_answer_that_has_ended_is_not_found(slowly: Server) -> None:
    refused = slowly.http.post("/v1/answers/chatcmpl-1/steering", json={"steering": "2 warm"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "answer_not_found")
    assert not slowly.host.hosted().answering


def test_several_answers_of_a_request_cannot_be_turned(slowly: Server) -> None:
    with slowly.http.stream("POST", "/v1/chat/completions", json={**ASK, "n": 2}) as answer:
        lines = answer.iter_lines()  # held: the connection closes with it
        first = next(events(lines))
        refused = slowly.http.post(f"/v1/answers/{first['id']}/steering", json={"steering": "2 warm"})
    assert refused.status_code == 409


def text(server: Server, steering: str) -> list[int]:
    """The ids of an answer."""
    body = {**ASK, "stream": False, "steering": steering, "return_token_ids": True}
    ids: list[int] = server.http.post("/v1/chat/completions", json=body).json()["choices"][0]["token_ids"]
    return ids


def events(lines: Iterator[str]) -> Iterator[Any]:
    """The chunks of a stream."""
    for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def test_an_answer_that_has_ended_but_is_still_being_read_is_not_turned(server: Server) -> None:
    """A client that reads slowly has an answer that the scheduler has long finished."""
    order = Order(
        wanted=Wanted(),
        encode=lambda model: [encode_prompt(model, "Hello")],
        prompts=1,
        choices=1,
        sampler=Sampler(0),
        tokens=4,
        stops=(),
        ids=False,
        seed=None,
        texts=False,
        top=0,
    )

    async def turned() -> str:
        answering = Answering(server.host.hosted(), order, "cmpl-1")
        steps = answering.steps(30.0)
        scheduler = server.host.hosted().scheduler
        ended = scheduler.stats.answers
        await anext(steps)
        while scheduler.stats.answers == ended:
            await asyncio.sleep(0.01)
        try:
            with pytest.raises(ApiError) as refused:
                await answering.turn(Wanted())
        finally:
            await steps.aclose()
        return f"{refused.value.status} {refused.value.message}"

    assert asyncio.run(turned()) == "404 the answer has ended"
