"""The default steering: what requests that name none are steered by, changed while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localprobe.engine import OPERATORS, Capabilities
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.serve.settings import Settings
from localprobe.vectors.vector import Vector
from tests.serve.server import LAYER, Server, serving

PATH = "/v1/steering"


@pytest.fixture(scope="module")
def steered(warm: Vector) -> Iterator[Server]:
    with serving(Settings(steering="0.3 warm")) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(steered: Server) -> Iterator[None]:
    yield
    steered.host.default = "0.3 warm"


def text(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_it_is_shown_with_its_terms(steered: Server) -> None:
    shown = steered.http.get(PATH).json()
    assert shown["steering"] == "0.3 warm"
    (term,) = shown["terms"]
    assert (term["vector"], term["layer"], term["operator"]) == ("warm", LAYER, "add")
    assert term["dose"] == pytest.approx(0.3)
    with Model(FakeEngine()) as model:
        assert term["alpha"] == pytest.approx(0.3 * float(model.scale[LAYER]))


def test_what_is_put_steers_requests_that_name_none(steered: Server) -> None:
    put = steered.http.put(PATH, json={"steering": "0.4 warm @3;   ablate brief"}).json()
    assert put["steering"] == "0.4 warm @3; ablate brief"
    assert steered.http.get(PATH).json() == put
    answer = steered.chat(seed=3)
    assert answer["localprobe"]["steering"] == "0.4 warm @3; ablate brief"
    with Model(FakeEngine()) as model:
        assert text(answer) == model.answer("Hello", steer="0.4 warm @3; ablate brief", seed=3, tokens=12).text
        assert text(steered.chat(seed=3, steering=False)) == model.answer("Hello", seed=3, tokens=12).text


def test_terms_may_be_objects(steered: Server) -> None:
    terms = [{"vector": "warm", "dose": -0.2, "layers": [2, 3], "positions": "response"}, "ablate 0.5 brief"]
    put = steered.http.put(PATH, json={"steering": terms}).json()
    assert put["steering"] == "-0.2 warm @2-3 response; ablate 0.5 brief"
    assert [term["layer"] for term in put["terms"]] == [2, 3, 3]


@pytest.mark.parametrize("nothing", [None, False, "", []])
def test_null_clears_it(steered: Server, nothing: Any) -> None:
    assert steered.http.put(PATH, json={"steering": nothing}).json() == {"steering": ""}
    assert steered.http.get(PATH).json() == {"steering": ""}
    assert steered.chat()["localprobe"] == {"steering": ""}


@pytest.mark.parametrize(
    ("steering", "message"),
    [
        ("0.2 nobody", "no vector 'nobody' in the library"),
        ("0.2 warm @99", "layer 99"),
        ("0.2", "column 4"),
        ("0.2 ./warm.safetensors", "is no name of a vector"),
        ("alpha 1e30 warm", "1e+18 is the most"),
        (True, "says not how"),
        ("; ".join(["0.1 warm"] * 65), "more than the 64 terms"),
        (7, "Expected"),
    ],
)
def test_what_does_not_work_on_the_model_is_refused_and_changes_nothing(
    steered: Server, steering: Any, message: str
) -> None:
    answer = steered.http.put(PATH, json={"steering": steering})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "steering")
    assert message in error["message"]
    assert steered.host.default == "0.3 warm"


def test_a_body_must_say_what(steered: Server) -> None:
    assert steered.http.put(PATH, json={}).status_code == 400
    assert steered.host.default == "0.3 warm"


def test_what_the_engine_cannot_do_is_refused(warm: Vector) -> None:
    able = Capabilities(operators=OPERATORS[:1], join=True)
    with serving(load=lambda slot: FakeEngine(capabilities=able)) as server:
        answer = server.http.put(PATH, json={"steering": "ablate warm if brief > 2"})
        assert answer.status_code == 400
        assert "fake cannot ablate" in answer.json()["error"]["message"]
        assert "terms" in server.http.put(PATH, json={"steering": '0.1 warm on "Hello"'}).json()


def test_it_is_changed_only_where_the_server_allows_it(warm: Vector) -> None:
    with serving(Settings(host="0.0.0.0")) as server:  # as the settings say; it listens on loopback
        answer = server.http.put(PATH, json={"steering": "0.1 warm"})
        assert answer.status_code == 403
        assert "--allow-admin" in answer.json()["error"]["message"]
        assert server.http.get(PATH).json() == {"steering": ""}
