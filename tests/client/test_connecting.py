"""Finding a server and its model: waiting for a load, keys, and what is said where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import localprobe as lp
from localprobe.client import connecting
from localprobe.engine import Engine
from localprobe.errors import ModelError, UnknownModel
from localprobe.fake import FakeEngine
from localprobe.generators.endpoint_errors import EndpointError
from localprobe.serve.guard import guarded
from localprobe.serve.hosted import Slot
from localprobe.serve.settings import Settings
from tests.serve import server as servers
from tests.serve.server import Server, serving


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCALPROBE_API_KEY", raising=False)


@pytest.mark.parametrize("written", ["{}", "{}/", "{}/v1", "{}/v1/"])
def test_the_address_may_be_the_one_that_openais_clients_take(server: Server, written: str) -> None:
    with lp.connect(written.format(server.url)) as model:
        assert model.server.url == server.url
    with lp.connect(written.format(server.url.removeprefix("http://"))) as model:
        assert model.server.url == server.url


def test_no_server_is_one_line() -> None:
    with pytest.raises(EndpointError, match=r"no server answers at http://127\.0\.0\.1:9: start `localprobe serve`"):
        lp.connect("http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["", "http://", "ftp://127.0.0.1", "http://a b", "http://127.0.0.1:port"])
def test_what_is_no_address_is_one_line(url: str) -> None:
    with pytest.raises(EndpointError, match=r"is no address of a server: write http://HOST:PORT|at http://a b"):
        lp.connect(url)


@pytest.mark.parametrize("key", ["schl\u00fcssel", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_said(key: str) -> None:
    with pytest.raises(EndpointError, match="holds other characters than printable ASCII"):
        lp.connect("http://127.0.0.1:9", key)


def test_a_model_that_is_being_loaded_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_LOOK", 0.01)
    go, told = threading.Event(), list[str]()

    def load(slot: Slot) -> Engine:
        slot.doing = "reading weights"
        go.wait(20)
        return FakeEngine(slot.spec.name)

    def waiting(why: str) -> None:
        told.append(why)
        go.set()

    with serving(load=load, ready=False) as server, connecting.connect(server.url, waiting=waiting) as model:
        assert model.info.model == "fake"
    assert told[0] == "fake: reading weights"


def test_a_model_that_failed_and_one_that_is_unknown_are_said() -> None:
    def load(slot: Slot) -> Engine:
        raise ModelError("its file is torn")

    with serving(load=load, ready=False) as server:
        servers.wait_for(lambda: server.host.slots()[0].error)
        with pytest.raises(ModelError, match=r"fake cannot be loaded on http://.*: its file is torn"):
            lp.connect(server.url)
        with pytest.raises(UnknownModel, match="no model 'other' here"):
            lp.connect(server.url, model="other")


def test_one_of_several_models_is_named() -> None:
    with serving(Settings(resident=2), names=("one", "two")) as server:
        servers.wait_for(lambda: all(slot.hosted for slot in server.host.slots()))
        with lp.connect(server.url, model="two") as model:
            assert model.info.model == "two"
            assert model.models() == ["one", "two"]


def test_a_key_is_asked_for_and_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    made = servers.create_app
    monkeypatch.setattr(servers, "create_app", lambda host, settings: guarded(made(host, settings), settings))
    with serving(Settings(keys=("secret",)), ready=False) as server:
        for key in (None, "wrong"):
            with pytest.raises(EndpointError, match=r"http://.* refuses the key: .*LOCALPROBE_API_KEY"):
                lp.connect(server.url, key)
        with lp.connect(server.url, "secret") as model:
            assert model.answer("Hello", tokens=2).text
        monkeypatch.setenv("LOCALPROBE_API_KEY", "secret")
        with lp.connect(server.url) as model:
            assert model.models() == ["fake"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda request: PlainTextResponse("<html>hello"), "answers what cannot be read"),
        (lambda request: PlainTextResponse("gone", 502), "answers with status 502: gone"),
        (lambda request: JSONResponse({"data": [{"id": "gpt"}]}), "says nothing of residuals"),
        (lambda request: Response("[]", media_type="application/json"), "a list without models"),
        (lambda request: Response("[" * 100_000, media_type="application/json"), "answers what cannot be read"),
        (lambda request: Response("[" * 100_000, 500, media_type="application/json"), "answers with status 500"),
    ],
)
def test_another_kind_of_server_is_told_apart(answer: Callable[..., Response], told: str) -> None:
    async def endpoint(request: object) -> Response:
        return answer(request)

    with running(Starlette(routes=[Route("/{path:path}", endpoint)])) as url, pytest.raises(EndpointError, match=told):
        lp.connect(url)


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """An app on loopback, by its address."""
    import socket

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
