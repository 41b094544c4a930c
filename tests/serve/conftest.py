"""One server for all tests that leave it as it was, with two vectors in its library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.vectors.vector import Vector
from tests.serve.server import Server, planted, serving


@pytest.fixture(scope="session")
def warm(own_folders: Path) -> Vector:
    planted("brief", seed=1)
    return planted("warm")


@pytest.fixture(scope="session")
def server(warm: Vector) -> Iterator[Server]:
    with serving() as running:
        yield running
