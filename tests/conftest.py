"""What every test may use: a cache of its own, and the fake engine."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from localprobe.fake import FakeEngine

# The same examples in every run, so that what passed here passes elsewhere; `--hypothesis-profile=random` draws others.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("same")


def pytest_collection_finish() -> None:
    """What is imported by now stays: an engine that closes would look all through it for garbage."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing that a test does may touch, or lean on, the user's own cache and runs."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALPROBE_CACHE", str(folder / "cache"))
        patch.setenv("LOCALPROBE_DATA", str(folder / "data"))
        yield folder


class Unsynced(sqlite3.Connection):
    """A connection that leaves writing to the system."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        with suppress(sqlite3.Error):  # the file is none of SQLite's, which the next statement tells too
            self.execute("PRAGMA synchronous = OFF")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """What a test writes need not outlive a power cut."""
    connect = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(sqlite3, "connect", partial(connect, factory=Unsynced))
        yield


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
