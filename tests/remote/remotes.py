"""What the tests of engines in child processes share."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

from localprobe import remote
from localprobe.engine import Engine, LoadOptions, Prompt, Weights
from localprobe.remote import RemoteEngine, RemoteStream

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


def wait_until(predicate: Callable[[], bool], seconds: float = 10.0) -> None:
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


class interrupted:
    """Send this process's main thread what Ctrl-C sends, after some seconds."""

    def __init__(self, seconds: float) -> None:
        thread = threading.main_thread().ident
        assert thread is not None
        self.timer = threading.Timer(seconds, signal.pthread_kill, (thread, signal.SIGINT))

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *error: object) -> None:
        self.timer.cancel()
