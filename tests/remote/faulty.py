"""Engines that fail on purpose: `tests.remote.faulty:abort_in_step` aborts in a decode step.

A child process finds them by that name, as an entry point would give it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import Engine, IntArray, LoadOptions, Output, Row, Step, Weights
from localprobe.errors import OutOfMemory, UsageError
from localprobe.fake import FakeBackend, FakeEngine
from localprobe.fake.stream import FakeStream
from localprobe.remote import wire

_go_on = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: _go_on.set())


class OutOfCardMemory(OutOfMemory):
    """A backend's own error, of a class that the core does not know."""


def _print(text: str) -> None:
    """As a C library prints: to the descriptors, past Python's own files."""
    os.write(1, b"to standard output\n")
    os.write(2, text.encode())


def _abort() -> None:
    _print("warming up\n\x1b[31mggml.c:12: GGML_ASSERT(n > 0) failed\x1b[0m\nlib.so(+0x15c)[0x7f01]\n")
    os.abort()


def _raise(error: BaseException) -> None:
    raise error


def _tear() -> None:
    """Die in the middle of an answer."""
    os.write(int(sys.argv[2]), wire.pack("forward", "half of this")[0][:30])
    os._exit(4)


def _pause() -> None:
    """Until the parent sends SIGUSR1."""
    _go_on.wait()
    _go_on.clear()


def _bug() -> None:
    raise KeyError("no such key")


def _chatter() -> None:
    for _ in range(3000):
        _print("loading 12 %\rloading 100 %\n" * 10)
    print("from Python")
    sys.stdin.read()  # ends at once: a library that asks a question gets no answer


FAULTS: dict[str, Callable[[], object]] = {
    "abort": _abort,
    "segfault": lambda: ctypes.string_at(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(60),
    "pause": _pause,
    "bug": _bug,
    "quit": sys.exit,
    "usage": lambda: _raise(UsageError("layer 99 is out of range")),
    "memory": lambda: _raise(OutOfCardMemory("the batch does not fit")),
    "chatter": _chatter,
    "tear": _tear,
    "confusion": lambda: os.write(int(sys.argv[2]), b"".join(wire.pack("decode", "the answer to another verb"))),
    "nonsense": lambda: os.write(int(sys.argv[2]), b"".join(wire.pack("forward", "no outputs"))),
    "garbage": lambda: os.write(int(sys.argv[2]), b"llama_model_loader: - kv 0: general.architecture"),
}


class FaultyStream(FakeStream):
    fault: Callable[[], object] = staticmethod(lambda: None)

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self.fault()
        return super().step(uniforms)


class FaultyEngine(FakeEngine):
    """Fails in `verb`. It decodes any ids as the number of streams that are open."""

    def __init__(self, verb: str, fault: Callable[[], object], weights: Weights) -> None:
        super().__init__(weights.name)
        self.verb, self.fault, self.weights = verb, fault, weights
        self.streams: list[FakeStream] = []

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        if self.verb == "forward":
            self.fault()
        return super().forward(rows, layers)

    def open(self, *arguments: Any, **options: Any) -> FakeStream:
        if self.verb == "open":
            self.fault()
        stream = super().open(*arguments, **options)
        if self.verb == "step":
            stream.__class__ = FaultyStream
            stream.fault = self.fault  # type: ignore[attr-defined]
        self.streams.append(stream)
        return stream

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return str(sum(not stream._closed for stream in self.streams))

    def close(self) -> None:
        if self.weights.path.exists():
            self.weights.path.write_text("closed in good order")


class FaultyBackend(FakeBackend):
    name = "faulty"

    def __init__(self, verb: str, fault: Callable[[], object]) -> None:
        self.verb, self.fault = verb, fault

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        if self.verb == "load":
            self.fault()
        return FaultyEngine(self.verb, self.fault, weights)


class WarningBackend(FakeBackend):
    """A sound engine whose library warns of something while it loads."""

    name = "tests.remote.faulty:warning"

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        warnings.warn("this build has no GPU", stacklevel=2)
        return super().load(weights, options)


warning = WarningBackend()


def __getattr__(name: str) -> FaultyBackend:
    fault, _, verb = name.partition("_in_")
    if fault not in FAULTS:
        raise AttributeError(name)
    return FaultyBackend(verb, FAULTS[fault])
