"""What every test may use: a cache of its own, and the fake engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.fake import FakeEngine


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing that a test does may touch, or lean on, the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("LOCALPROBE_CACHE")
    os.environ["LOCALPROBE_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["LOCALPROBE_CACHE"]
    else:
        os.environ["LOCALPROBE_CACHE"] = before


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()
