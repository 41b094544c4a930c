"""Vectors of a server: listed, fetched, uploaded where it allows that, and told apart by their content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import localprobe as lp
from localprobe.client.model import RemoteModel
from localprobe.client.vectors import same
from localprobe.engine import Watch
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.serve.settings import Settings
from localprobe.vectors import files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.serve.server import serving


def made(concept: str, seed: int) -> Vector:
    """A vector for the fake model that no library has."""
    info = FakeEngine("fake").info
    random = np.random.default_rng(seed)
    directions = {layer: Direction(random.normal(size=info.width).astype(np.float32)) for layer in range(info.layers)}
    return Vector(concept, Origin.of(info, method="mean-difference", pooling="mean"), directions, 2)


@pytest.fixture(scope="module")
def taking(library: Vector) -> Iterator[str]:
    """The address of a server that takes vectors."""
    with serving(Settings(allow_upload=True)) as server:
        yield server.url


def test_the_vectors_of_the_server_are_listed_and_fetched(remote: RemoteModel, library: Vector) -> None:
    listed = {str(about["id"]): about for about in remote.vectors()}
    assert {"warm", "brief"} <= set(listed)
    assert listed["warm"]["made_for_this_model"] is True
    fetched = remote.vector("warm")
    assert same(fetched, library)
    assert (fetched.concept, fetched.best, fetched.origin) == (library.concept, library.best, library.origin)
    assert {"warm", "brief"} <= {vector.concept for vector in remote.kept.fitting()}


@pytest.mark.parametrize("name", ["nothing", "../warm", "warm.gguf", "a/b", "~", " "])
def test_a_name_that_the_server_lacks_is_a_vector_error(remote: RemoteModel, name: str) -> None:
    with pytest.raises(lp.VectorError):
        remote.vector(name)


def test_a_vector_of_this_machine_is_uploaded_and_steers(taking: str) -> None:
    mine = made("mine", 5)
    with lp.connect(taking) as remote, Model(FakeEngine("fake")) as local:
        over_http = remote.answer("Hello", steer=mine, alpha=1.5, tokens=12)
        here = local.answer("Hello", steer=mine, alpha=1.5, tokens=12)
        assert over_http.ids.tolist() == here.ids.tolist()
        np.testing.assert_allclose(over_http.scores, here.scores, rtol=1e-5, atol=1e-5)
        assert "mine" in [about["id"] for about in remote.vectors()]
    assert Library().find("mine", FakeEngine("fake").info) is not None


def test_so_is_a_file(taking: str, tmp_path: Path) -> None:
    path = tmp_path / "filed.safetensors"
    files.save(made("filed", 6), path)
    with lp.connect(taking) as remote, Model(FakeEngine("fake")) as local:
        for steer in (str(path), f'0.4 "{path}"'):
            dose = None if " " in steer else 0.4
            over_http = remote.answer("Hello", steer=steer, dose=dose, tokens=8)
            assert over_http.ids.tolist() == local.answer("Hello", steer=steer, dose=dose, tokens=8).ids.tolist()


def test_a_server_that_takes_none_says_how_to_allow_it(remote: RemoteModel) -> None:
    with pytest.raises(lp.VectorError, match=r"has no vector 'refused', and takes none: .*--allow-upload"):
        remote.answer("Hello", steer=made("refused", 7), dose=0.2)
    with pytest.raises(lp.LocalprobeError, match="--allow-upload"):
        remote.upload(made("refused", 7))


def test_another_vector_of_a_name_is_neither_used_nor_replaced(taking: str, library: Vector) -> None:
    with lp.connect(taking) as remote:
        with pytest.raises(lp.VectorError, match="keeps another vector as 'warm'"):
            remote.answer("Hello", steer=made("warm", 8), dose=0.2)
        assert same(remote.vector("warm"), library)
        renamed = made("warm", 8)
        assert remote.upload(renamed, "warmer") == "warmer"
        assert remote.answer("Hello", steer=renamed, dose=0.2, tokens=2).text


def test_a_projection_of_no_vector_is_refused(remote: RemoteModel) -> None:
    watch = Watch(2, np.ones(remote.info.width, dtype=np.float32))
    with pytest.raises(lp.UsageError, match="not by any projection: `upload` a vector"):
        remote.answer("Hello", watch=watch)
