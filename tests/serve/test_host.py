"""The models of a server: loaded, loaded again, unloaded, given up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from localprobe.engine import IntArray
from localprobe.engines.spec import ModelSpec
from localprobe.errors import EngineCrashed, EngineStopped, OutOfMemory, UnknownEngine, UnknownModel
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.scheduling.job import Limits
from localprobe.serve import host as hosts
from localprobe.serve.hosted import Slot
from localprobe.serve.settings import Settings
from tests.serve.server import Mortal, serving, wait_for


def test_while_a_model_is_loaded_the_server_says_so() -> None:
    may_load = threading.Event()

    def load(slot: Slot) -> FakeEngine:
        slot.doing = "reading the weights"
        may_load.wait()
        return FakeEngine()

    with serving(load=load, ready=False) as server:
        health = server.http.get("/health")
        assert (health.status_code, health.headers["retry-after"]) == (503, "5")
        assert health.json()["status"] == "loading"
        assert health.json()["models"] == [
            {"id": "fake", "state": "loading", "stage": "reading the weights", "error": None}
        ]
        asked = server.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}]})
        assert (asked.status_code, asked.headers["retry-after"]) == (503, "5")
        assert asked.json()["error"]["code"] == "model_loading"
        may_load.set()
        wait_for(lambda: server.http.get("/health").status_code == 200)
        assert server.chat()["choices"]


def test_a_model_that_cannot_be_loaded_says_why() -> None:
    def load(slot: Slot) -> FakeEngine:
        raise UnknownModel("no model of that name")

    with serving(load=load, ready=False) as server:
        wait_for(lambda: server.host.status()[1]["status"] == "failed")
        assert server.http.get("/health").json()["models"][0]["error"] == "no model of that name"
        assert "cannot be loaded: no model of that name" in server.chat()["error"]["message"]


def test_models_are_listed_and_shown(server: Any) -> None:
    models = list(server.client.models.list())
    assert [model.id for model in models] == ["fake"]
    shown = server.client.models.retrieve("fake")
    assert shown.model_extra["localprobe"]["engine"] == "fake"
    assert (shown.model_extra["localprobe"]["layers"], shown.model_extra["localprobe"]["context"]) == (6, 512)
    assert server.http.get("/v1/models/other").status_code == 404
    assert server.http.get("/v1/models/org/other").status_code == 404


def test_a_model_is_loaded_in_the_place_of_the_idle_one() -> None:
    with serving(names=("one", "two")) as server:
        assert server.http.get("/v1/models").json()["data"][0]["id"] == "one"
        unloaded = server.chat(model="two")
        assert unloaded["error"]["code"] == "model_not_found"
        assert "load it with POST /v1/models/load" in unloaded["error"]["message"]
        assert server.http.post("/v1/models/load", json={"model": "two"}).json()["id"] == "two"
        assert server.chat(model="two")["model"] == "two"
        assert server.chat()["model"] == "two"
        assert "error" in server.chat(model="one")


def test_two_models_may_be_resident_and_the_least_recently_used_leaves() -> None:
    with serving(Settings(resident=2), names=("one", "two")) as server:
        wait_for(lambda: all(slot.hosted for slot in server.host.slots()))
        assert (server.chat(model="two")["model"], server.chat(model="one")["model"]) == ("two", "one")
        server.http.post("/v1/models/load", json={"model": "three"})
        assert {model["id"] for model in server.http.get("/v1/models").json()["data"]} == {"one", "three"}


def test_a_request_may_load_its_model() -> None:
    with serving(Settings(load_on_request=True), names=("one", "two")) as server:
        assert server.chat(model="two")["error"]["code"] == "model_loading"
        wait_for(lambda: server.host.status()[0])
        assert server.chat(model="two")["model"] == "two"
        assert server.chat(model="three")["error"]["code"] == "model_not_found"


def test_a_model_that_answers_does_not_make_room() -> None:
    with serving(names=("one", "two"), load=lambda slot: FakeEngine(slot.spec.name, delay=0.01)) as server:
        body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 300, "stream": True, "seed": 19}
        with server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()  # dropping it would close the connection
            next(lines)
            refused = server.http.post("/v1/models/load", json={"model": "two"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_room")


def test_a_model_is_unloaded_and_its_answers_fail() -> None:
    with serving(load=lambda slot: FakeEngine(delay=0.01)) as server:
        body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 300, "stream": True, "seed": 19}
        with server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            unloaded = server.http.post("/v1/models/unload", json={"model": "fake"})
            assert unloaded.json()["localprobe"]["state"] == "unloaded"
            assert '"error"' in [line for line in lines if line][-1]
        assert server.http.post("/v1/models/unload", json={"model": "fake"}).status_code == 404
        assert server.http.get("/health").status_code == 503


def test_an_engine_that_dies_while_idle_is_loaded_again() -> None:
    engines: list[Mortal] = []

    def load(slot: Slot) -> Mortal:
        engines.append(Mortal())
        return engines[-1]

    with serving(load=load) as server:
        engines[0].alive = False
        wait_for(lambda: len(engines) == 2 and server.host.status()[0])
        assert server.chat()["choices"]


def test_an_engine_that_is_stopped_while_idle_is_loaded_again() -> None:
    class Stopped(FakeEngine):
        def encode(self, text: str, *, template: bool = False) -> IntArray:
            raise EngineStopped("its process is stopped")

    loads: list[FakeEngine] = []

    def load(slot: Slot) -> FakeEngine:
        loads.append(FakeEngine() if loads else Stopped())
        return loads[-1]

    with serving(load=load) as server:
        error = server.chat()["error"]
        assert (error["code"], error["param"]) == ("engine_stopped", None)
        wait_for(lambda: len(loads) == 2 and server.host.status()[0])
        assert server.chat()["choices"]


@pytest.mark.parametrize("dies", ["at once", "in the load"])
def test_a_model_is_given_up_after_crashes_in_a_row(monkeypatch: pytest.MonkeyPatch, dies: str) -> None:
    monkeypatch.setattr(hosts, "_WAITS", (0.0, 0.01, 0.01))
    loads: list[Mortal] = []

    def load(slot: Slot) -> Mortal:
        loads.append(Mortal())
        if len(loads) > 1 and dies == "in the load":
            raise EngineCrashed("it died of signal 9")
        loads[-1].alive = False
        return loads[-1]

    with serving(load=load, ready=False) as server:
        wait_for(lambda: server.host.status()[1]["status"] == "failed")
        assert len(loads) == 4
        error = server.host.status()[1]["models"][0]["error"]
        assert error.startswith("the engine failed 4 times in a row, the last time so: ")


def test_the_models_of_a_closed_host_are_freed() -> None:
    closed: list[str] = []

    class Closes(FakeEngine):
        def close(self) -> None:
            closed.append(self.info.model)

    def load(slot: Slot) -> Closes:
        return Closes(slot.spec.name)

    with serving(Settings(resident=2), names=("one", "two"), load=load) as server:
        wait_for(lambda: all(slot.hosted for slot in server.host.slots()))
    assert sorted(closed) == ["one", "two"]


def test_work_between_answers_runs_on_the_models_thread(server: Any) -> None:
    names: list[str] = []

    def work(model: Model) -> int:
        names.append(threading.current_thread().name)
        return model.info.layers

    assert asyncio.run(server.host.hosted().run(work)) == 6
    assert names == ["localprobe scheduler"]


def test_a_model_that_cannot_be_loaded_takes_no_place_and_is_forgotten() -> None:
    def load(slot: Slot) -> FakeEngine:
        if slot.spec.name == "two":
            raise OutOfMemory("two does not fit")
        return FakeEngine(slot.spec.name)

    with serving(names=("one",), load=load) as server:
        refused = server.http.post("/v1/models/load", json={"model": "two"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_failed")
        assert "two cannot be loaded: two does not fit" in refused.json()["error"]["message"]
        wait_for(lambda: server.http.get("/health").status_code == 200)
        assert server.chat()["model"] == "one"
        assert [model["id"] for model in server.http.get("/health").json()["models"]] == ["one"]


def test_a_name_that_nothing_has_is_refused_before_a_model_makes_room() -> None:
    loads: list[str] = []

    def load(slot: Slot) -> FakeEngine:
        loads.append(slot.spec.name)
        return FakeEngine()

    host = hosts.Host([ModelSpec("one", "fake")], Limits(), load=load)
    host.start()
    wait_for(lambda: host.status()[0])
    for name, engine, error in (("nosuchmodel", None, UnknownModel), ("one", "nosuch", UnknownEngine)):
        with pytest.raises(error):
            asyncio.run(host.load(name, engine))
    assert (loads, host.status()[0], len(host.slots())) == (["one"], True, 1)
    host.close()
