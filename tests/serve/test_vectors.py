"""Vectors over HTTP: listed, shown, uploaded and deleted by name. What is uploaded is hostile until it is read."""

from __future__ import annotations

import io
import pickle
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from localprobe.fake import FakeEngine
from localprobe.fake.transformer import LAYERS, WIDTH
from localprobe.model import Model
from localprobe.serve.settings import Settings
from localprobe.vectors import files
from localprobe.vectors.control_vector import save_gguf
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.serve.server import LAYER, Server, planted, serving, wait_for
from tests.vectors.test_calibration import TEXT, measured

BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def open_server(warm: Vector) -> Iterator[Server]:
    """A server that takes vectors of up to 100,000 bytes."""
    with serving(Settings(allow_upload=True, upload=100_000)) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    """Whatever a test does, no part of an upload is left in the library."""
    yield
    wait_for(lambda: not leftovers())


def leftovers() -> list[Path]:
    return [path for path in Library().folder.iterdir() if path.suffix != ".safetensors"]


def put(server: Server, name: str, data: bytes, **headers: str) -> httpx.Response:
    return server.http.put(f"/v1/vectors/{name}", content=data, headers=BYTES | headers)


def told(answer: httpx.Response) -> Any:
    return answer.json()["error"]


def made(concept: str = "calm", *, seed: int = 7, width: int = WIDTH, layers: int = LAYERS, **origin: Any) -> Vector:
    """A vector of the fake model that is in no library."""
    random = np.random.default_rng(seed)
    info = FakeEngine().info
    directions = {b: Direction(random.normal(size=width).astype(np.float32), norm=1.5) for b in range(layers)}
    about = replace(Origin.of(info, method="mean-difference", pooling="mean"), width=width, layers=layers, **origin)
    return Vector(concept, about, directions, 2)


def with_nan() -> bytes:
    ones = replace(made(), directions={2: Direction(np.ones(WIDTH, np.float32))})
    return files.encoded(ones).replace(np.float32(1).tobytes() * WIDTH, np.float32(np.nan).tobytes() * WIDTH)


def same(a: Vector, b: Vector) -> bool:
    return all(np.array_equal(a.directions[layer].vector, b.directions[layer].vector) for layer in a.directions)


class TestLook:
    def test_the_list_tells_of_each_vector_of_the_library(self, server: Server, warm: Vector) -> None:
        listed = server.http.get("/v1/vectors").json()
        assert listed["object"] == "list"
        about = next(one for one in listed["data"] if one["id"] == "warm")
        assert about == {
            "object": "vector",
            "id": "warm",
            "concept": "warm",
            "model": "fake",
            "layers": list(range(LAYERS)),
            "best_layer": LAYER,
            "width": WIDTH,
            "made_for_this_model": True,
            "method": "mean-difference",
            "pooling": "mean",
            "calibrated": [],
        }

    def test_one_of_another_model_is_listed_as_such_and_not_shown(self, server: Server) -> None:
        planted("foreign", name="other", weights="1" * 64)
        listed = server.http.get("/v1/vectors").json()["data"]
        about = next(one for one in listed if one["id"] == "foreign")
        assert (about["model"], about["made_for_this_model"]) == ("other", False)
        answer = server.http.get("/v1/vectors/foreign")
        assert answer.status_code == 404
        assert "kept for other, not for fake" in told(answer)["message"]

    def test_a_vector_is_shown_with_its_lengths_and_the_models(self, server: Server, warm: Vector) -> None:
        about = server.http.get("/v1/vectors/warm").json()
        with Model(FakeEngine()) as model:
            assert about["scale"] == {str(b): pytest.approx(float(model.scale[b])) for b in range(LAYERS)}
        assert about["norms"] == {str(b): 1.0 for b in range(LAYERS)}

    def test_thresholds_that_were_calibrated_are_told(self, server: Server) -> None:
        vector = made("ranked")
        at_2 = replace(vector.directions[2], calibrations=(measured(), TEXT))
        Library().keep(replace(vector, directions={**vector.directions, 2: at_2}))
        about = server.http.get("/v1/vectors/ranked").json()
        assert about["calibrated"] == [
            {"layer": 2, "fpr": 0.01, "unit": "token", "threshold": 5.0},
            {"layer": 2, "fpr": 0.01, "unit": "text", "threshold": None},
        ]

    def test_its_file_is_the_one_in_the_library(self, server: Server, warm: Vector, tmp_path: Path) -> None:
        answer = server.http.get("/v1/vectors/warm", params={"format": "safetensors"})
        assert answer.headers["content-type"] == "application/safetensors"
        path = tmp_path / "warm.safetensors"
        path.write_bytes(answer.content)
        assert same(files.load(path), warm)
        assert answer.content == Library().path("warm", warm.origin.weights).read_bytes()

    @pytest.mark.parametrize(
        ("name", "status", "message"),
        [
            ("nobody", 404, "no vector 'nobody' in the library"),
            ("wram", 404, "did you mean 'warm'?"),
            ("warm.safetensors", 400, "is no name of a vector"),
            ("..%5Cwarm", 400, "is no name of a vector"),
            ("~root", 400, "is no name of a vector"),
            (".hidden", 400, "is no name of a vector"),
            ("%20", 400, "is empty"),
            ("a" * 201, 400, "201 characters: 200 are the most"),
            ("..%2Fwarm", 404, "no '/v1/vectors/../warm' here"),
            ("warm?format=gguf", 400, "json or safetensors"),
        ],
    )
    def test_what_is_no_name_is_refused_and_never_opened(
        self, server: Server, name: str, status: int, message: str
    ) -> None:
        answer = server.http.get(f"/v1/vectors/{name}")
        assert answer.status_code == status
        assert message in told(answer)["message"]


class TestUpload:
    def test_a_vector_steers_once_it_is_uploaded(self, open_server: Server) -> None:
        vector = made()
        answer = put(open_server, "calm", files.encoded(vector))
        assert answer.status_code == 201
        assert (answer.json()["id"], answer.json()["made_for_this_model"]) == ("calm", True)
        kept = Library().find("calm", FakeEngine().info)
        assert kept is not None
        assert same(kept.vector, vector)
        assert kept.vector.origin == vector.origin
        steered = open_server.chat(steering="alpha 3 calm @2", seed=1)
        with Model(FakeEngine()) as model:
            expected = model.answer("Hello", steer=vector, alpha=3, layer=2, seed=1, tokens=12)
        assert steered["choices"][0]["message"]["content"] == expected.text

    def test_it_replaces_the_one_of_its_name_for_these_weights_only(self, open_server: Server) -> None:
        elsewhere = Library().keep(made("twice", weights="2" * 64))
        before = elsewhere.read_bytes()
        for seed in (1, 2):
            assert put(open_server, "twice", files.encoded(made("twice", seed=seed))).status_code == 201
        found = Library().find("twice", FakeEngine().info)
        assert found is not None
        assert same(found.vector, made("twice", seed=2))
        assert elsewhere.read_bytes() == before

    def test_a_control_vector_of_another_program_belongs_to_the_loaded_model(
        self, open_server: Server, tmp_path: Path
    ) -> None:
        from gguf import GGUFWriter

        path = tmp_path / "vector.gguf"
        writer = GGUFWriter(path, "controlvector")
        for layer in (2, 3):
            writer.add_tensor(f"direction.{layer}", np.full(WIDTH, 0.5, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        about = put(open_server, "foreign program", path.read_bytes()).json()
        assert (about["id"], about["concept"], about["layers"]) == ("foreign program", "foreign program", [2, 3])
        assert (about["model"], about["made_for_this_model"], about["best_layer"]) == ("fake", True, None)
        assert "error" not in open_server.chat(steering='alpha 1 "foreign program"')

    def test_a_control_vector_of_ours_is_the_vector(self, open_server: Server, tmp_path: Path) -> None:
        vector = made("calm")
        vector = replace(vector, directions={b: vector.directions[b] for b in range(1, LAYERS)})
        save_gguf(vector, tmp_path / "calm.gguf")
        assert put(open_server, "as gguf", (tmp_path / "calm.gguf").read_bytes()).status_code == 201
        found = Library().find("as gguf", FakeEngine().info)
        assert found is not None
        assert same(found.vector, vector)

    def test_a_name_that_no_file_can_have_is_found_again(self, open_server: Server) -> None:
        assert put(open_server, "warm%3F!", files.encoded(made("calm"))).status_code == 201
        assert open_server.http.get("/v1/vectors/warm%3F!").json()["id"] == "warm?!"
        assert "warm?!" in {one["id"] for one in open_server.http.get("/v1/vectors").json()["data"]}

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "the upload is not a readable vector file"),
            (b"GGUF", "the upload is not a readable control vector"),
            (b"not a vector", "the upload is not a readable vector file"),
            (pickle.dumps({"direction.1": [1.0]}), "the upload is not a readable vector file"),
            (save({"direction.1": np.ones(WIDTH, np.float32)}), "not a vector of localprobe"),
            (files.encoded(made(width=16)), f"has width 16, but fake has {WIDTH}"),
            (files.encoded(made(layers=9)), f"fake has layers 0 to {LAYERS - 1}"),
            (files.encoded(made(model="other", weights="3" * 64)), "was made for 'other', not for fake"),
            (files.encoded(made())[:-40], "the upload is not a readable vector file"),
            ((1 << 62).to_bytes(8, "little") + b"{}", "the upload is not a readable vector file"),
            (with_nan(), "NaN or infinity"),
        ],
        ids=["nothing", "magic", "text", "pickle", "tensors", "width", "layers", "model", "torn", "huge header", "nan"],
    )
    def test_what_is_no_vector_of_the_model_is_refused(self, open_server: Server, data: bytes, message: str) -> None:
        before = sorted(Library().folder.iterdir())
        answer = put(open_server, "bad", data)
        assert (answer.status_code, told(answer)["code"]) == (400, "vector_error")
        assert message in told(answer)["message"]
        assert "the the" not in told(answer)["message"]
        assert str(Library().folder) not in answer.text
        assert sorted(Library().folder.iterdir()) == before

    def test_archives_are_not_opened(self, open_server: Server) -> None:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("direction.1.npy", b"\x93NUMPY")
        answer = put(open_server, "bad", data.getvalue())
        assert answer.status_code == 400
        assert "zip or npz" in told(answer)["message"]

    @pytest.mark.parametrize("name", ["warm.gguf", "~", "..%5Cup", ".upload", "a" * 201])
    def test_it_is_kept_under_no_path(self, open_server: Server, name: str) -> None:
        answer = put(open_server, name, files.encoded(made()))
        assert (answer.status_code, told(answer)["code"]) == (400, "vector_name")

    def test_what_is_too_large_is_refused_by_what_it_says_and_by_what_comes(self, open_server: Server) -> None:
        said = put(open_server, "large", bytes(100_001))

        def pieces() -> Iterator[bytes]:
            for _ in range(11):
                yield bytes(10_000)

        came = open_server.http.put("/v1/vectors/large", content=pieces(), headers=BYTES)
        for answer in (said, came):
            assert (answer.status_code, told(answer)["code"]) == (413, "body_too_large")

    def test_an_upload_that_breaks_off_leaves_nothing(self, open_server: Server) -> None:
        port = httpx.URL(open_server.url).port or 0
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = "PUT /v1/vectors/broken HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n"
            connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + bytes(2000))
            wait_for(lambda: bool(leftovers()))
        wait_for(lambda: not leftovers())
        assert open_server.http.get("/v1/vectors/broken").status_code == 404

    def test_a_server_takes_none_unless_it_is_allowed(self, server: Server) -> None:
        for answer in (put(server, "calm", files.encoded(made())), server.http.delete("/v1/vectors/warm")):
            assert answer.status_code == 403
            assert "--allow-upload" in told(answer)["message"]
        assert server.http.get("/v1/vectors/warm").status_code == 200


class TestDelete:
    def test_the_vector_of_the_loaded_model_goes_and_others_of_its_name_stay(self, open_server: Server) -> None:
        own, other = Library().keep(made("gone")), Library().keep(made("gone", model="other", weights="4" * 64))
        answer = open_server.http.delete("/v1/vectors/gone")
        assert answer.json() == {"object": "vector", "id": "gone", "deleted": True}
        assert (own.exists(), other.exists()) == (False, True)
        assert open_server.http.delete("/v1/vectors/gone").status_code == 404

    def test_one_that_the_default_steering_uses_stays(self, open_server: Server) -> None:
        Library().keep(made("used"))
        Library().keep(made("probe"))
        open_server.http.put("/v1/steering", json={"steering": "0.1 used when probe > 0"}).raise_for_status()
        for name in ("used", "probe"):
            answer = open_server.http.delete(f"/v1/vectors/{name}")
            assert (answer.status_code, told(answer)["code"]) == (409, "vector_in_use")
        open_server.http.put("/v1/steering", json={"steering": None}).raise_for_status()
        assert open_server.http.delete("/v1/vectors/used").status_code == 200
