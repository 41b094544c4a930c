"""Servers that fail: in mid-answer, by their engine, by what they send; errors keep their class and their words."""

from __future__ import annotations

from dataclasses import replace

import pytest

import localprobe as lp
from localprobe import errors
from localprobe.client.answers import Answering, Asked, messages
from localprobe.client.errors import told
from localprobe.client.model import RemoteModel
from localprobe.client.server import Server
from localprobe.engine import Engine
from localprobe.errors import EngineCrashed, LocalprobeError
from localprobe.fake import FakeEngine
from localprobe.generation.events import Token
from localprobe.generators.endpoint_errors import EndpointError
from localprobe.serve.errors import api_error, envelope
from localprobe.serve.hosted import Slot
from tests.client.test_connecting import running
from tests.serve.server import Mortal, serving, wait_for


def slow(slot: Slot) -> Engine:
    """Tokens come one by one, and no answer ends by itself."""
    engine = FakeEngine(slot.spec.name, delay=0.02)
    engine.info = replace(engine.info, eos=())
    return engine


@pytest.mark.parametrize(
    "error",
    [
        errors.EngineCrashed("the engine's process died"),
        errors.EngineStopped("stopped"),
        errors.EngineError("broken"),
        errors.OutOfMemory("it does not fit"),
        errors.UnknownModel("no model 'a'"),
        errors.ModelError("torn"),
        errors.VectorError("no vector 'a'"),
        errors.UsageError("layer 9 is out of range"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_server_is_the_same_error_here(error: LocalprobeError) -> None:
    answered = api_error(error)
    again = told("http://here", answered.status, envelope(answered))
    assert (type(again), str(again)) == (type(error), str(error))


def test_what_the_server_is_too_busy_for_is_an_error_of_the_endpoint() -> None:
    body = {"error": {"message": "256 requests wait: send it again", "type": "rate_limit_error", "code": None}}
    assert str(told("http://here", 429, body)) == "http://here: 256 requests wait: send it again"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"steer": "0.2 nothing"}, lp.UsageError, r"column 5: no vector 'nothing' in the library"),
        ({"steer": "0.2 warm @99"}, lp.UsageError, "layer 99 is out of range: fake has layers 0 to 5"),
        ({"steer": "0.2 warm respond"}, lp.UsageError, "column 10"),
        ({"steer": "nothing", "dose": 0.2}, lp.VectorError, "no vector 'nothing' in the library"),
        ({"alarms": ["nothing > 2"]}, LocalprobeError, "no vector 'nothing'"),
        ({"tokens": 4, "temperature": -1.0}, lp.UsageError, "temperature"),
        ({"tokens": 4, "temperature": float("nan")}, lp.UsageError, "temperature must be 0 or more, not nan"),
        ({"steer": "warm"}, lp.UsageError, "column 1"),
    ],
    ids=str,
)
def test_a_mistake_is_told_as_it_is_here(
    remote: RemoteModel, options: dict[str, object], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        remote.answer("Hello", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 600, "half \ud800"])
def test_a_prompt_that_cannot_be_answered_is_a_usage_error(remote: RemoteModel, prompt: str) -> None:
    with pytest.raises(lp.UsageError):
        remote.answer(prompt)


def test_an_engine_that_dies_in_mid_answer_is_an_engine_error_and_the_next_answer_comes() -> None:
    engines: list[Mortal] = []

    def load(slot: Slot) -> Engine:
        engines.append(Mortal(delay=0.01))
        return engines[-1]

    with serving(load=load) as server, lp.connect(server.url) as model:
        events = model.stream("Hello", seed=12, tokens=290)
        next(event for event in events if isinstance(event, Token))
        engines[0].alive = False
        with pytest.raises(EngineCrashed, match="the fake engine died"):
            list(events)
        wait_for(lambda: len(engines) == 2 and server.host.status()[0])
        assert model.answer("Hello", tokens=2).text


def test_a_server_that_is_gone_in_mid_answer_is_one_line() -> None:
    async def torn(scope: dict[str, object], receive: object, send: object) -> None:
        """Begins an answer and breaks off."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})  # type: ignore[operator]

    with running(torn) as url:  # type: ignore[arg-type]
        steps = Answering(Server(url), Asked("fake"), messages(("user", "Hello"))).steps()
        [token] = next(steps)
        assert isinstance(token, Token)
        assert (token.id, token.text) == (7, "He")
        with pytest.raises(EndpointError, match=r"closed the connection|before it was complete"):
            next(steps)


_CHUNK = (
    b'data: {"id": "a", "created": 0, "model": "fake", "system_fingerprint": "f", "choices": [{"index": 0, "delta": '
    b'{"role": "assistant", "content": "He"}, "token_ids": [7], "logprobs": {"content": [{"token": "He", "logprob": '
    b'-1.0, "bytes": null, "top_logprobs": []}]}}]}\n\n'
)


def test_closing_a_stream_ends_the_answer_at_the_server() -> None:
    with serving(load=slow) as server, lp.connect(server.url) as model:
        events = model.stream("Hello", tokens=400)
        next(event for event in events if isinstance(event, Token))
        assert not server.host.hosted().idle
        events.close()  # type: ignore[attr-defined]
        wait_for(lambda: server.host.hosted().idle)
