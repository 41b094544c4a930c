"""Ctrl-C while native code runs."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType, TracebackType

# What `signal` wraps in CPython: its own functions look each handler up in an enum, in vain, which takes a tenth of a
# millisecond of every token.
_native: ModuleType = sys.modules.get("_signal", signal)


class Interruptible:
    """Defers Ctrl-C while native code runs that calls back into Python, and raises it afterwards.

    Otherwise Python would raise KeyboardInterrupt inside the callback, where ctypes prints and discards it. `cut` is
    called to end the native code early. Only the main thread gets signals; a custom signal handler is left in place.
    """

    def __init__(self, cut: Callable[[], None]) -> None:
        self._cut = cut
        self._holds = self._interrupted = False

    def __enter__(self) -> Interruptible:
        self._interrupted = False
        self._holds = (
            threading.current_thread() is threading.main_thread()
            and _native.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._holds:
            _native.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._holds:
            _native.signal(signal.SIGINT, signal.default_int_handler)
        if self._interrupted:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        self._cut()
