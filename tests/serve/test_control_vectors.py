"""The default steering, and ik_llama.cpp's calls that turn it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localprobe.serve.settings import Settings
from tests.serve.server import LAYER, Server, serving


@pytest.fixture
def calm(server: Server) -> Iterator[Server]:
    """A server without a default steering, before and after."""
    server.host.default = ""
    yield server
    server.host.default = ""


def post(server: Server, path: str, body: Any, status: int = 200) -> Any:
    answer = server.http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_default_steers_requests_that_name_none(calm: Server) -> None:
    plain = calm.chat(seed=3)
    told = calm.http.put("/v1/steering", json={"steering": "0.5 warm; ablate brief"}).json()
    assert told["steering"] == "0.5 warm; ablate brief"
    assert [term["vector"] for term in told["terms"]] == ["warm", "brief"]
    assert calm.http.get("/v1/steering").json() == told
    steered = calm.chat(seed=3)
    assert steered["localprobe"]["steering"] == "0.5 warm; ablate brief"
    assert (
        steered["choices"][0]["message"]
        == calm.chat(seed=3, steering="0.5 warm; ablate brief")["choices"][0]["message"]
    )
    assert calm.chat(seed=3, steering=False)["choices"][0]["message"] == plain["choices"][0]["message"]
    for nothing in (None, "", False):
        assert calm.http.put("/v1/steering", json={"steering": nothing}).json() == {"steering": ""}
        assert calm.chat(seed=3)["choices"][0]["message"] == plain["choices"][0]["message"]


@pytest.mark.parametrize("bad", ["0.5 nobody", "0.5", "1 warm @77", "0.2 /etc/passwd", 3, True])
def test_a_default_that_cannot_be_is_refused_and_changes_nothing(calm: Server, bad: Any) -> None:
    calm.host.default = "0.1 warm"
    assert calm.http.put("/v1/steering", json={"steering": bad}).status_code == 400
    assert calm.host.default == "0.1 warm"


def test_a_default_of_the_start_and_terms_in_parts(warm: object) -> None:
    with serving(Settings(steering="0.1 warm")) as running:
        assert running.http.get("/v1/steering").json()["steering"] == "0.1 warm"
        part = {"vector": "brief", "alpha": 2, "layer": 4, "positions": "response"}
        told = running.http.put("/v1/steering", json={"steering": [part]}).json()
        assert told["steering"] == "alpha 2 brief @4 response"


def test_a_slider_client_loads_scales_and_unloads(calm: Server) -> None:
    assert calm.http.get("/control-vectors").json() == []
    body = {"path": "/models/vectors/warm.gguf", "scale": 0.8, "layer_start": 2, "layer_end": 4}
    assert post(calm, "/control-vectors/load", body) == {"success": True, "id": 0}
    assert post(calm, "/control-vectors/load", {"path": "brief"}) == {"success": True, "id": 1}
    first, second = calm.http.get("/control-vectors").json()
    assert first == {"id": 0, "path": "warm", "scale": 0.8, "layer_start": 2, "layer_end": 4, "applied": True}
    assert (second["scale"], second["layer_start"], second["layer_end"]) == (1.0, 0, 5)
    assert calm.http.get("/v1/steering").json()["steering"] == "alpha 0.8 warm @2-4; alpha 1 brief @0-5"
    assert post(calm, "/control-vectors/apply", [{"id": 0, "scale": -0.5}, {"id": 1, "scale": 0}]) == {"success": True}
    assert [(each["scale"], each["applied"]) for each in calm.http.get("/control-vectors").json()] == [
        (-0.5, True),
        (0, False),
    ]
    answer = calm.chat(seed=3)
    expected = calm.chat(seed=3, steering="alpha -0.5 warm @2-4")
    assert answer["choices"][0]["message"] == expected["choices"][0]["message"]
    assert post(calm, "/control-vectors/unload", {"id": 0}) == {"success": True}
    assert [each["path"] for each in calm.http.get("/control-vectors").json()] == ["brief"]


def test_scales_of_doses_are_told_as_alpha_and_ablations_stay(calm: Server) -> None:
    calm.http.put("/v1/steering", json={"steering": "ablate brief; 0.5 warm"})
    (shown,) = calm.http.get("/control-vectors").json()
    scale = float(calm.host.hosted().model.scale[LAYER])
    assert shown["scale"] == pytest.approx(0.5 * scale, rel=1e-5)
    post(calm, "/control-vectors/apply", [{"id": 0, "scale": 3, "layer_start": 1, "layer_end": 2}])
    assert calm.http.get("/v1/steering").json()["steering"] == "ablate brief; alpha 3 warm @1-2"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("load", {"path": "/etc/passwd"}),
        ("load", {"path": "nobody.gguf"}),
        ("load", {"path": "warm", "layer_start": 9}),
        ("load", {"path": "..", "scale": 1}),
        ("unload", {"id": 0}),
        ("apply", [{"id": 5, "scale": 1}]),
        ("apply", {"id": 0, "scale": 1}),
        ("apply", [{"id": 0}]),
    ],
)
def test_a_call_that_names_nothing_is_refused(calm: Server, path: str, body: Any) -> None:
    error = post(calm, f"/control-vectors/{path}", body, 400)["error"]
    assert error["message"]
    assert calm.host.default == ""
