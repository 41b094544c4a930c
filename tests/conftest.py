"""What every test may use: a cache of its own, and the fake engine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.fake import FakeEngine


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing that a test does may touch, or lean on, the user's own cache and runs."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALPROBE_CACHE", str(folder / "cache"))
        patch.setenv("LOCALPROBE_DATA", str(folder / "data"))
        yield folder


@pytest.fixture
def signals_heard() -> Iterator[None]:
    """This process, and those that it starts, hear Ctrl-C and a hangup even if the tests were started where these are
    ignored: by `nohup`, or in the background of a script."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()
