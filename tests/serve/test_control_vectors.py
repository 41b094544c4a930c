"""ik_llama.cpp's `/control-vectors`, as its clients with sliders use it, and the default steering behind it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from localprobe.fake import FakeEngine
from localprobe.fake.transformer import LAYERS
from localprobe.model import Model
from localprobe.vectors.vector import Vector
from tests.serve.server import LAYER, Server, serving

PATH = "/control-vectors"


@pytest.fixture(scope="module")
def sliders(warm: Vector) -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def unsteered(sliders: Server) -> Iterator[None]:
    sliders.host.default = ""
    yield


def post(server: Server, call: str, body: Any) -> Any:
    return server.http.post(f"{PATH}/{call}", json=body).json()


def listed(server: Server) -> Any:
    return server.http.get(PATH).json()


def test_a_client_loads_scales_and_unloads_a_vector(sliders: Server) -> None:
    assert listed(sliders) == []
    body = {"path": "/models/vectors/warm.gguf", "scale": 0.8, "layer_start": 2, "layer_end": 4}
    assert post(sliders, "load", body) == {"success": True, "id": 0}
    loaded = {"id": 0, **body, "applied": True}
    assert listed(sliders) == [loaded]
    assert post(sliders, "apply", [{"id": 0, "scale": -1.5}]) == {"success": True}
    assert listed(sliders) == [{**loaded, "scale": -1.5}]
    assert post(sliders, "apply", [{"id": 0, "scale": 0.0}]) == {"success": True}
    assert listed(sliders) == [{**loaded, "scale": 0.0, "applied": False}]
    assert post(sliders, "unload", {"id": 0}) == {"success": True}
    assert listed(sliders) == []
    assert sliders.host.default == ""


def test_what_is_loaded_steers_requests_as_alpha_at_these_layers(sliders: Server, warm: Vector) -> None:
    post(sliders, "load", {"path": "warm.gguf", "scale": 2.5, "layer_start": 2, "layer_end": 4})
    assert sliders.http.get("/v1/steering").json()["steering"] == "alpha 2.5 warm @2-4"
    answer = sliders.chat(seed=2)
    with Model(FakeEngine()) as model:
        expected = model.answer("Hello", steer="alpha 2.5 warm @2-4", seed=2, tokens=12)
    assert answer["choices"][0]["message"]["content"] == expected.text


def test_without_layers_all_of_the_vectors_layers_are_meant(sliders: Server) -> None:
    for given in ({}, {"layer_start": -1, "layer_end": -1}, {"layer_start": 0, "layer_end": 0}):
        post(sliders, "load", {"path": "warm", **given})
        assert sliders.host.default == f"alpha 1 warm @0-{LAYERS - 1}"
        assert [(one["layer_start"], one["layer_end"], one["scale"]) for one in listed(sliders)] == [(0, LAYERS - 1, 1)]
        post(sliders, "unload", {"id": 0})


def test_layers_of_a_loaded_vector_can_be_moved(sliders: Server) -> None:
    post(sliders, "load", {"path": "warm"})
    post(sliders, "apply", [{"id": 0, "scale": 0.5, "layer_start": 1, "layer_end": 2}])
    assert sliders.host.default == "alpha 0.5 warm @1-2"


def test_numbers_close_up_when_a_vector_is_unloaded(sliders: Server) -> None:
    for path in ("warm.gguf", "brief.gguf", "warm.gguf"):
        post(sliders, "load", {"path": path, "layer_start": 3, "layer_end": 3})
    assert post(sliders, "apply", [{"id": 2, "scale": 3}, {"id": 0, "scale": 1.5}]) == {"success": True}
    assert sliders.host.default == "alpha 1.5 warm @3; alpha 1 brief @3; alpha 3 warm @3"
    post(sliders, "unload", {"id": 0})
    assert [(one["id"], one["path"], one["scale"]) for one in listed(sliders)] == [
        (0, "brief.gguf", 1),
        (1, "warm.gguf", 3),
    ]


def test_other_terms_of_the_default_stay_and_its_additions_are_listed(sliders: Server) -> None:
    sliders.http.put("/v1/steering", json={"steering": "ablate brief; 0.3 warm; alpha 2 brief @1-2"}).raise_for_status()
    with Model(FakeEngine()) as model:
        alpha = pytest.approx(0.3 * float(model.scale[LAYER]))
    assert listed(sliders) == [
        {"id": 0, "path": "warm", "scale": alpha, "layer_start": LAYER, "layer_end": LAYER, "applied": True},
        {"id": 1, "path": "brief", "scale": 2.0, "layer_start": 1, "layer_end": 2, "applied": True},
    ]
    post(sliders, "apply", [{"id": 0, "scale": 0.25}])
    assert sliders.host.default == "ablate brief; alpha 0.25 warm; alpha 2 brief @1-2"


def test_sliders_that_move_at_once_lose_nothing(sliders: Server) -> None:
    for path in ("warm", "brief"):
        post(sliders, "load", {"path": path, "scale": 0, "layer_start": 1, "layer_end": 1})
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: post(sliders, "apply", [{"id": n % 2, "scale": 1 + n % 2}]), range(24)))
    assert done == [{"success": True}] * 24
    assert sliders.host.default == "alpha 1 warm @1; alpha 2 brief @1"


@pytest.mark.parametrize(
    ("call", "body", "message"),
    [
        ("load", {"path": "/etc/passwd"}, "no vector 'passwd' in the library"),
        ("load", {"path": "../../warm/.."}, "is no name of a vector"),
        ("load", {"path": "/vectors/.gguf"}, "the name of a vector in '/vectors/.gguf' is empty"),
        ("load", {"path": "C:\\vectors\\nobody.gguf"}, "no vector 'nobody'"),
        ("load", {"path": "warm", "layer_start": 9, "layer_end": 12}, "'warm' has no layer from 9 to 12"),
        ("load", {"path": "warm", "strength": 1}, "unknown field `strength`"),
        ("load", {"scale": 1}, "missing required field `path`"),
        ("load", {"path": "warm", "scale": 1e30}, "1e+18 is the most"),
        ("unload", {"id": 0}, "no control vector 0: GET /control-vectors lists 0"),
        ("apply", [{"id": -1, "scale": 1}], "no control vector -1"),
        ("apply", {"id": 0, "scale": 1}, "Expected `array`"),
        ("apply", [{"id": 0, "scale": 1}] * 65, "Expected `array` of length <= 64"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(sliders: Server, call: str, body: Any, message: str) -> None:
    answer = sliders.http.post(f"{PATH}/{call}", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert (sliders.host.default, listed(sliders)) == ("", [])


def test_one_bad_number_of_several_changes_nothing(sliders: Server) -> None:
    post(sliders, "load", {"path": "warm"})
    before = listed(sliders)
    assert "error" in post(sliders, "apply", [{"id": 0, "scale": 2}, {"id": 1, "scale": 2}])
    assert listed(sliders) == before
