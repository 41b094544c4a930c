"""What the tests of engines in child processes share."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest

from localprobe import remote
from localprobe.engine import Engine, LoadOptions, Prompt, Weights
from localprobe.remote import RemoteEngine, RemoteStream
from localprobe.remote.process import PendingAnswer

WEIGHTS = Weights("fake", Path("/nowhere"), "fake", "")
T = TypeVar("T")
HALF = np.array([0.5])


def load(backend: str = "fake", weights: Weights = WEIGHTS) -> RemoteEngine:
    return remote.load(backend, weights, LoadOptions())


def open_one(engine: Engine, text: str = "The lighthouse") -> RemoteStream:
    stream = engine.open([Prompt(engine.encode(text))], room=20)
    assert isinstance(stream, RemoteStream)
    return stream


def gone(pid: int) -> bool:
    """Whether a process has ended. One that our child left behind may wait for init to collect it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(predicate: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def here(function: Callable[[], T]) -> T:
    """Call in the main thread, which Ctrl-C may take out of it."""
    return function()


def elsewhere(function: Callable[[], T]) -> T:
    """Call in another thread, which talks to the child itself; what it raises is raised here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@contextmanager
def interrupted(verb: str) -> Iterator[None]:
    """Expect that Ctrl-C ends a wait for the child's answer to `verb`: it comes a moment after the wait began."""
    main, wait = threading.main_thread().ident, PendingAnswer.wait
    assert main is not None

    def waiting(answer: PendingAnswer, timeout: float | None = None) -> Any:
        if answer.verb == verb:
            threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
        return wait(answer, timeout)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PendingAnswer, "wait", waiting)
        yield
