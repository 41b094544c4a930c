"""A real server on the fake engine, with two vectors, and the same model in this process to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import localprobe as lp
from localprobe.client.model import RemoteModel
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.vectors.vector import Vector
from tests.serve.server import Server, planted, serving


@pytest.fixture(scope="session", autouse=True)
def library(own_folders: Path) -> Vector:
    """The library of the server, which is that of this process; its first vector."""
    planted("brief", seed=1)
    return planted("warm")


@pytest.fixture(scope="session")
def server(library: Vector) -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def remote(server: Server) -> Iterator[RemoteModel]:
    """The model, over HTTP."""
    with lp.connect(server.url) as model:
        yield model


@pytest.fixture
def local() -> Iterator[Model]:
    """The same model, in this process."""
    with Model(FakeEngine("fake")) as model:
        yield model
