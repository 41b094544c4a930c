"""The library over HTTP: listed, shown, uploaded, deleted; names only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from localprobe.serve.settings import Settings
from localprobe.vectors import control_vector, files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.serve.server import LAYER, Server, planted, serving


@pytest.fixture(scope="module")
def open_server(own_folders: Path) -> Iterator[Server]:
    """A server that takes vectors, of at most 200 kB."""
    with serving(Settings(allow_upload=True, upload=200_000)) as running:
        yield running


def stored() -> set[str]:
    return {entry.name for entry in Library().entries()}


def test_vectors_are_listed_with_what_a_slider_needs(server: Server, warm: Vector) -> None:
    planted("elsewhere", weights="of another model", name="other")
    about = {each["id"]: each for each in server.http.get("/v1/vectors").json()["data"]}
    assert about["warm"]["layers"] == [0, 1, 2, 3, 4, 5]
    assert (about["warm"]["best_layer"], about["warm"]["width"], about["warm"]["model"]) == (LAYER, 32, "fake")
    assert about["warm"]["made_for_this_model"]
    assert not about["elsewhere"]["made_for_this_model"]


def test_a_vector_is_shown_with_the_lengths_that_doses_are_of(server: Server, warm: Vector) -> None:
    about = server.http.get("/v1/vectors/warm").json()
    assert about["object"] == "vector"
    assert about["norms"][str(LAYER)] == warm.directions[LAYER].norm
    scale = server.host.hosted().model.scale
    np.testing.assert_allclose([about["scale"][str(layer)] for layer in range(6)], scale, rtol=1e-6)


def test_a_vector_is_fetched_as_its_file(server: Server, warm: Vector, tmp_path: Path) -> None:
    answer = server.http.get("/v1/vectors/warm", params={"format": "safetensors"})
    assert answer.headers["content-type"] == "application/safetensors"
    (tmp_path / "warm.safetensors").write_bytes(answer.content)
    fetched = files.load(tmp_path / "warm.safetensors")
    np.testing.assert_array_equal(fetched.directions[LAYER].vector, warm.directions[LAYER].vector)
    assert server.http.get("/v1/vectors/warm", params={"format": "npz"}).status_code == 400


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_an_uploaded_vector_steers(open_server: Server, warm: Vector, tmp_path: Path, kind: str) -> None:
    vector, path, name = replace(warm, concept=f"up {kind}"), tmp_path / f"v.{kind}", f"up {kind}"
    if kind == "gguf":
        directions = {layer: direction for layer, direction in warm.directions.items() if layer}  # the format has no 0
        control_vector.save_gguf(replace(vector, directions=directions), path)
    else:
        files.save(vector, path)
    answer = open_server.http.put(f"/v1/vectors/{quote(name)}", content=path.read_bytes())
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == name
    assert answer.json()["made_for_this_model"]
    steered = open_server.chat(steering=f'alpha 2 "{name}" @{LAYER}', seed=1)
    expected = open_server.chat(steering=f"alpha 2 warm @{LAYER}", seed=1)
    assert steered["localprobe"]["terms"][0]["alpha"] == 2
    assert steered["choices"][0]["message"] == expected["choices"][0]["message"]
    assert open_server.http.delete(f"/v1/vectors/{quote(name)}").json() == {
        "id": name,
        "deleted": True,
        "object": "vector",
    }
    assert open_server.http.get(f"/v1/vectors/{quote(name)}").status_code == 404


def test_an_upload_replaces_the_vector_of_its_name_alone(open_server: Server, warm: Vector) -> None:
    planted("kept")
    before = stored()
    for seed in (1, 2):
        changed = replace(warm, concept="mine", directions={2: Direction(np.full(32, seed, np.float32))}, best=2)
        assert open_server.http.put("/v1/vectors/mine", content=files.encoded(changed)).status_code == 201
    assert stored() == before | {"mine"}
    about = open_server.http.get("/v1/vectors/mine").json()
    assert about["layers"] == [2]
    open_server.http.delete("/v1/vectors/mine")


def narrow(warm: Vector) -> bytes:
    """A vector for a model of another width."""
    origin = Origin("narrow", width=16, layers=6)
    return files.encoded(Vector("narrow", origin, {1: Direction(np.ones(16, np.float32))}, 1))


@pytest.mark.parametrize("bad", ["empty", "text", "pickle", "torn", "narrow", "gguf", "zip", "nan"])
def test_what_is_no_vector_of_the_model_is_refused_and_leaves_nothing(
    open_server: Server, warm: Vector, bad: str
) -> None:
    whole = files.encoded(warm)
    nan = replace(warm, directions={1: Direction(np.full(32, 1, np.float32))}, best=1)
    content = {
        "empty": b"",
        "text": b"hello, I am a vector",
        "pickle": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
        "torn": whole[: len(whole) // 2],
        "narrow": narrow(warm),
        "gguf": b"GGUF" + b"\xff" * 200,
        "zip": b"PK\x03\x04" + b"\0" * 100,
        "nan": files.encoded(nan).replace(np.float32(1).tobytes() * 4, np.float32(np.nan).tobytes() * 4),
    }[bad]
    before = stored(), set(Library().folder.iterdir())
    answer = open_server.http.put("/v1/vectors/bad", content=content)
    assert answer.status_code == 400, answer.text
    message = answer.json()["error"]["message"]
    assert "/tmp" not in message
    assert "\n" not in message
    assert (stored(), set(Library().folder.iterdir())) == before


def test_an_upload_that_is_too_large_or_not_allowed_is_refused(
    open_server: Server, server: Server, warm: Vector
) -> None:
    assert server.http.put("/v1/vectors/mine", content=files.encoded(warm)).status_code == 403
    assert server.http.delete("/v1/vectors/warm").status_code == 403
    assert "warm" in stored()


PATHS = ["../../etc/passwd", "/etc/passwd", "a/b", "..", "~root", "x.safetensors", "x.gguf", ".hidden", "a\\b"]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_path_is_no_name(open_server: Server, warm: Vector, name: str, method: str) -> None:
    content = files.encoded(warm) if method == "PUT" else None
    answer = open_server.http.request(method, f"/v1/vectors/{quote(name, safe='')}", content=content)
    assert answer.status_code in (400, 404, 405)
    assert "error" in answer.json()


def test_a_vector_of_no_model_belongs_to_the_one_it_was_uploaded_for(open_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    nobody = Vector("nobody", Origin("", width=0), {2: Direction(np.ones(32, np.float32))}, None)
    control_vector.save_gguf(nobody, path)
    assert open_server.http.put("/v1/vectors/nobody", content=path.read_bytes()).json()["made_for_this_model"]
    assert open_server.chat(steering="alpha 1 nobody @2")["localprobe"]["terms"][0]["layer"] == 2
    open_server.http.delete("/v1/vectors/nobody")
