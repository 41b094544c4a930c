"""Events on their way from a scheduler's thread to the event loop.

Waking a loop writes to a pipe, and Python hands its lock to the loop meanwhile: a scheduler that did so itself would
ask the engine for the next step only after the last one's chunks were written. So another thread wakes the loop.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

_Call: TypeAlias = tuple[AbstractEventLoop, Callable[[Any], object], Any]


class Teller:
    """Calls functions on event loops, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def tell(self, loop: AbstractEventLoop, function: Callable[[Any], object], value: Any) -> None:
        """Have `function(value)` called on a loop; nothing happens if the loop has ended."""
        if self._thread is None:
            self._start()
        self._calls.put((loop, function, value))

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="localprobe teller", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            loop, function, value = self._calls.get()
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(function, value)


TELLER = Teller()
"""The one of this process."""
